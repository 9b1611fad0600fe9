#pragma once
#include <algorithm>
#include <cmath>
#include <moe/backend/cpu/attention/products.hpp>
#include <moe/backend/cpu/attention/softmax.hpp>
#include <moe/backend/cpu/attention/tile_products.hpp>
#include <moe/backend/cpu/gemm/selection.hpp>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// Causal attention, one block of queries at a time with all its keys. Scores are stored
/// transposed, (keys, queries of the block): each SIMD lane is one query, so the softmax is
/// lane-wise and the block is an operand of every product without being repacked. A query sums over
/// its keys in order and masked probabilities are exactly 0, so its bits do not depend on the other
/// queries of its block, as long as keys and values are finite. Backward recomputes the
/// probabilities from lse; one thread owns a (sequence, key head). T is the type in memory. Each
/// result is rounded to T once, when its sum is complete, and so is each operand of a product:
/// probabilities times dropout, and gradients of scores.
///
/// Source: Dao 2023, arXiv:2307.08691.  Test: tests/backend/cpu_attention.cpp, cpu_bfloat16.cpp.
template <class W, class T = W>
class BlockAttention {
 public:
  explicit BlockAttention(int threads, Bf16Products narrow_products = Bf16Products::measured)
      : threads_(threads),
        space_(std::size_t(threads)),
        multiplier_(multiplier_for<T>(narrow_products)) {}

  void reserve(const AttentionShape& s) {
    for (Workspace& w : space_) w.reserve(bytes_of_thread(s));
  }
  static std::size_t bytes_of_thread(const AttentionShape& s) {
    std::size_t numbers = Block<Widened>(s, nullptr).numbers;
    if constexpr (narrow) numbers = std::max(numbers, Block<EmulatedKernel>(s, nullptr).numbers);
    return numbers * sizeof(W);
  }

  void forward(const AttentionShape& s, const T* q, const T* k, const T* v, T* out, W* lse) {
    with_kernel([&]<class Kernel>(Kernel) { forward_with<Kernel>(s, q, k, v, out, lse); });
  }
  void backward(const AttentionShape& s, const T* q, const T* k, const T* v, const T* out,
                const T* dout, const W* lse, T* dq, T* dk, T* dv) {
    with_kernel([&]<class Kernel>(Kernel) {
      backward_with<Kernel>(s, q, k, v, out, dout, lse, dq, dk, dv);
    });
  }

  /// forward and backward with one kernel of products. They are defined outside of the class, so
  /// that a program of several sources can compile them once.
  template <class Kernel>
  void forward_with(const AttentionShape& s, const T* q, const T* k, const T* v, T* out, W* lse);
  template <class Kernel>
  void backward_with(const AttentionShape& s, const T* q, const T* k, const T* v, const T* out,
                     const T* dout, const W* lse, T* dq, T* dk, T* dv);

 private:
  template <class Kernel>
  using Block = AttentionBlock<Kernel, W, T>;
  using EmulatedKernel = OnTiles<EmulatedTiles, PlainPacking>;
  static constexpr bool narrow = !std::is_same_v<W, T>;

  /// Calls f with the kernel of the products.
  template <class F>
  void with_kernel(const F& f) {
#ifdef MOE_HAS_TILES
    if constexpr (narrow)
      if (multiplier_ == Multiplier::tiles) return f(OnTiles<Tiles, WidePacking>{});
#endif
#ifdef __AVX512BF16__
    if constexpr (narrow)
      if (multiplier_ == Multiplier::dot) return f(Dot{});
#endif
    f(Widened{});
  }

  static W scale(const AttentionShape& s) {
    return W(1 / std::sqrt(double(s.head_dim)));
  }
  static double work(const AttentionShape& s) {
    return 4.0 * s.sequences * s.heads * s.queries * s.keys * s.head_dim;
  }

  /// to[i] = f(to[i], from[i]) for n rows of one head. Rows of `to` are `stride` apart.
  template <class Block, class F>
  static void for_each_result(const W* from, const Block& b, int n, std::ptrdiff_t stride, T* to,
                              const F& f) {
    for (int i = 0; i < n; ++i, from += b.row, to += stride)
      SimdGroup<W>{}.for_each(b.s.head_dim, [&]<class V>(Lane<V> d) {
        store(to, d, V(f(load(static_cast<const T*>(to), d), load(from, d))));
      });
  }

  int threads_;
  std::vector<Workspace> space_;
  Multiplier multiplier_;
};

template <class W, class T>
template <class Kernel>
void BlockAttention<W, T>::forward_with(const AttentionShape& s, const T* q, const T* k, const T* v,
                                        T* out, W* lse) {
  using Product = AttentionProducts<Kernel, W, T>;
  constexpr int lanes = Block<Kernel>::lanes;
  reserve(s);
  const int blocks = ceil_div(s.queries, lanes), owners = s.sequences * s.kv_heads;
  if (owners == 0 || blocks == 0) return;
  const int threads = work(s) < 1e6 ? 1 : threads_;
  const int chunks = threads == 1 ? 1 : std::min(blocks, ceil_div(2 * threads, owners));
  parallel(threads, owners * chunks, [&](int task, int worker) {
    [[maybe_unused]] const typename Kernel::Session session;
    Block<Kernel> b(s, space_[std::size_t(worker)].template as<W>());
    b.own(task / chunks, k, v);
    Product::pack_keys(b.key, b, b.k_steps);
    Product::pack_key_columns(b.value, b, b.v_columns);
    for (int h = 0; h < b.group(); ++h)
      for (int block = task % chunks; block < blocks; block += chunks) {
        b.select(h, block * lanes);
        Product::pack_queries(q + b.query_at(), b, b.q_steps);
        Product::score(b, b.k_steps, b.q_steps, b.p, scale(s));
        AttentionSoftmax<Kernel, W, T>::forward(b, lse);
        Product::by_queries(b, b.p, b.v_columns);
        for_each_result(b.result, b, b.count, b.query_stride(), out + b.query_at(),
                        [](const auto&, const auto& sum) { return sum; });
      }
  });
}

template <class W, class T>
template <class Kernel>
void BlockAttention<W, T>::backward_with(const AttentionShape& s, const T* q, const T* k,
                                         const T* v, const T* out, const T* dout, const W* lse,
                                         T* dq, T* dk, T* dv) {
  using Product = AttentionProducts<Kernel, W, T>;
  using Softmax = AttentionSoftmax<Kernel, W, T>;
  constexpr int lanes = Block<Kernel>::lanes;
  reserve(s);
  const int blocks = ceil_div(s.queries, lanes);
  parallel(work(s) < 1e6 ? 1 : threads_, s.sequences * s.kv_heads, [&](int task, int worker) {
    [[maybe_unused]] const typename Kernel::Session session;
    Block<Kernel> b(s, space_[std::size_t(worker)].template as<W>());
    b.own(task, k, v);
    Product::pack_keys(b.key, b, b.k_steps);
    Product::pack_key_columns(b.key, b, b.k_columns);
    Product::pack_keys(b.value, b, b.v_steps);
    std::fill_n(b.dkey, s.keys * b.row, W(0));
    std::fill_n(b.dvalue, s.keys * b.row, W(0));
    const auto add = [](const auto& old, const auto& sum) { return old + sum; };
    for (int h = 0; h < b.group(); ++h)
      for (int block = 0; block < blocks; ++block) {
        b.select(h, block * lanes);
        const T *const query = q + b.query_at(), *const dquery = dout + b.query_at();
        Product::pack_queries(query, b, b.q_steps);
        Product::pack_queries(dquery, b, b.do_steps);
        Product::pack_query_columns(query, b, b.q_columns);
        Product::pack_query_columns(dquery, b, b.do_columns);
        Product::score(b, b.k_steps, b.q_steps, b.p, scale(s));
        Product::score(b, b.v_steps, b.do_steps, b.dp, W(1));
        Softmax::backward(b, out + b.query_at(), dquery, lse, scale(s));
        Product::by_keys(b, b.p, b.do_columns, b.dvalue);
        Product::by_keys(b, Softmax::gradient_over_queries(b), b.q_columns, b.dkey);
        Product::by_queries(b, b.dp, b.k_columns);
        for_each_result(b.result, b, b.count, b.query_stride(), dq + b.query_at(), add);
      }
    for_each_result(b.dkey, b, s.keys, b.key_stride(), dk + b.key_at(), add);
    for_each_result(b.dvalue, b, s.keys, b.key_stride(), dv + b.key_at(), add);
  });
}

}  // namespace moe::detail
