#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <moe/backend/cpu/attention/block.hpp>
#include <moe/backend/cpu/dropout.hpp>
#include <moe/backend/cpu/gemm/blocked.hpp>
#include <moe/backend/cpu/simd/elementary.hpp>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// Causal attention, one block of queries at a time with all its keys. Scores are stored
/// transposed, (keys, queries of the block): each SIMD lane is one query, so the softmax is
/// lane-wise and the block is an operand of every product without being repacked. A query sums over
/// its keys in order and masked probabilities are exactly 0, so its bits do not depend on the other
/// queries of its block. Backward recomputes the probabilities from lse; one thread owns a
/// (sequence, key head). T is the type in memory; each result is rounded to T once, when its sum is
/// complete.
/// Source: Dao 2023, arXiv:2307.08691.  Test: tests/backend/cpu_attention.cpp.
template <class W, class T = W>
class BlockAttention {
 public:
  explicit BlockAttention(int threads) : threads_(threads), space_(std::size_t(threads)) {}

  void reserve(const AttentionShape& s) {
    for (Workspace& w : space_) w.reserve(bytes_of_thread(s));
  }
  static std::size_t bytes_of_thread(const AttentionShape& s) {
    return Block(s, nullptr).numbers * sizeof(W);
  }

  void forward(const AttentionShape& s, const T* q, const T* k, const T* v, T* out, W* lse) {
    reserve(s);
    const int blocks = ceil_div(s.queries, lanes), owners = s.sequences * s.kv_heads;
    if (owners == 0 || blocks == 0) return;
    const int threads = work(s) < 1e6 ? 1 : threads_;
    const int chunks = threads == 1 ? 1 : std::min(blocks, ceil_div(2 * threads, owners));
    parallel(threads, owners * chunks, [&](int task, int worker) {
      Block b(s, space_[std::size_t(worker)].template as<W>());
      b.own(task / chunks, k, v);
      Block::pack_rows(b.key, s.keys, s.head_dim, b.key_stride(), b.k_steps);
      Block::pack_columns(b.value, s.keys, s.head_dim, b.key_stride(), b.v_columns);
      for (int h = 0; h < b.group(); ++h)
        for (int block = task % chunks; block < blocks; block += chunks) {
          b.select(h, block * lanes);
          pack_panels<lanes, W>(Operand<T>{q + b.query_at(), b.query_stride(), 1}, b.count,
                                s.head_dim, b.q_steps);
          score(b, b.k_steps, b.q_steps, b.p, W(1 / std::sqrt(double(s.head_dim))));
          softmax(b, lse);
          by_queries(b, b.p, b.v_columns);
          for_each_result(b.result, b.count, b.query_stride(), s.head_dim, out + b.query_at(),
                          [](const auto&, const auto& sum) { return sum; });
        }
    });
  }

  void backward(const AttentionShape& s, const T* q, const T* k, const T* v, const T* out,
                const T* dout, const W* lse, T* dq, T* dk, T* dv) {
    reserve(s);
    const int blocks = ceil_div(s.queries, lanes);
    const W scale = W(1 / std::sqrt(double(s.head_dim)));
    parallel(work(s) < 1e6 ? 1 : threads_, s.sequences * s.kv_heads, [&](int task, int worker) {
      Block b(s, space_[std::size_t(worker)].template as<W>());
      b.own(task, k, v);
      Block::pack_rows(b.key, s.keys, s.head_dim, b.key_stride(), b.k_steps);
      Block::pack_columns(b.key, s.keys, s.head_dim, b.key_stride(), b.k_columns);
      Block::pack_rows(b.value, s.keys, s.head_dim, b.key_stride(), b.v_steps);
      std::fill_n(b.dkey, s.keys * s.head_dim, W(0));
      std::fill_n(b.dvalue, s.keys * s.head_dim, W(0));
      const auto add = [](const auto& old, const auto& sum) { return old + sum; };
      for (int h = 0; h < b.group(); ++h)
        for (int block = 0; block < blocks; ++block) {
          b.select(h, block * lanes);
          const T *qb = q + b.query_at(), *db = dout + b.query_at();
          const Operand<T> query{qb, b.query_stride(), 1}, dquery{db, b.query_stride(), 1};
          pack_panels<lanes, W>(query, b.count, s.head_dim, b.q_steps);
          pack_panels<lanes, W>(dquery, b.count, s.head_dim, b.do_steps);
          Block::pack_columns(qb, b.count, s.head_dim, b.query_stride(), b.q_columns);
          Block::pack_columns(db, b.count, s.head_dim, b.query_stride(), b.do_columns);
          score(b, b.k_steps, b.q_steps, b.p, scale);
          score(b, b.v_steps, b.do_steps, b.dp, W(1));
          differentiate(b, out + b.query_at(), db, lse, scale);
          by_keys(b, b.p, b.do_columns, b.dvalue);
          by_keys(b, b.dp, b.q_columns, b.dkey);
          by_queries(b, b.dp, b.k_columns);
          for_each_result(b.result, b.count, b.query_stride(), s.head_dim, dq + b.query_at(), add);
        }
      for_each_result(b.dkey, s.keys, b.key_stride(), s.head_dim, dk + b.key_at(), add);
      for_each_result(b.dvalue, s.keys, b.key_stride(), s.head_dim, dv + b.key_at(), add);
    });
  }

 private:
  using Block = AttentionBlock<W, T>;
  using Pack = Register<W>;
  static constexpr int rows = Block::rows, packs = Block::packs, width = Block::width,
                       lanes = Block::lanes, height = Block::height;
  // Numbers of keys: in a partial sum of the softmax, and in a block of by_queries.
  static constexpr int sum_block = 64, key_block = 128;

  static double work(const AttentionShape& s) {
    return 4.0 * s.sequences * s.heads * s.queries * s.keys * s.head_dim;
  }

  /// to (keys, lanes) = alpha * left right^T, for the keys that the block sees.
  static void score(const Block& b, const W* left, const W* right, W* to, W alpha) {
    const Epilogue<W> finish{alpha, W(0), nullptr, {}};
    const W* a = left;
    for (int i = 0; i < b.keys; i += rows, a += panel_step<rows>(b.s.head_dim)) {
      for_packs<packs>(b.registers, [&]<int V>(std::integral_constant<int, V>) {
        multiply_tile<W, rows, V, 1>(b.s.head_dim, a, rows, right, lanes, to + i * lanes, lanes,
                                     finish);
      });
    }
  }

  /// result (queries, dim) = sum over keys of left (keys, lanes) right (keys, dim), in blocks of
  /// keys that fit the first-level cache.
  static void by_queries(const Block& b, const W* left, const W* right) {
    const int dim = b.s.head_dim;
    for (int j = 0; j < b.keys; j += key_block) {
      const Epilogue<W> finish{W(1), j == 0 ? W(0) : W(1), nullptr, {}};
      const int keys = std::min(key_block, b.keys - j);
      for (int d = 0; d < dim; d += lanes) {
        const int cols = std::min(lanes, dim - d);
        const W* columns = right + d / lanes * panel_step<lanes>(b.s.keys) + j * lanes;
        for (int i = 0; i < b.count; i += height)
          for_packs<packs>(ceil_div(cols, width), [&]<int V>(std::integral_constant<int, V>) {
            multiply_tile_at_edge<W, height, V, 1>(std::min(height, b.count - i), cols, keys,
                                                   left + j * lanes + i, lanes, columns, lanes,
                                                   b.result + i * dim + d, dim, finish);
          });
      }
    }
  }

  /// to (keys, dim) += sum over the block's queries of left (keys, lanes) right (queries, dim).
  static void by_keys(const Block& b, const W* left, const W* right, W* to) {
    const Epilogue<W> finish{W(1), W(1), nullptr, {}};
    const int dim = b.s.head_dim;
    for (int d = 0; d < dim; d += lanes) {
      const int cols = std::min(lanes, dim - d);
      const W* columns = right + d / lanes * panel_step<lanes>(b.count);
      for (int i = 0; i < b.keys; i += rows)
        for_packs<packs>(ceil_div(cols, width), [&]<int V>(std::integral_constant<int, V>) {
          multiply_tile_at_edge<W, rows, V, lanes>(std::min(rows, b.keys - i), cols, b.count,
                                                   left + i * lanes, 1, columns, lanes,
                                                   to + i * dim + d, dim, finish);
        });
    }
  }

  /// to[i] = f(to[i], from[i]) for n rows of one head. Rows of `to` are `stride` apart.
  template <class F>
  static void for_each_result(const W* from, int n, std::ptrdiff_t stride, int dim, T* to,
                              const F& f) {
    for (int i = 0; i < n; ++i, from += dim, to += stride)
      SimdGroup<W>{}.for_each(dim, [&]<class V>(Lane<V> d) {
        store(to, d, V(f(load(static_cast<const T*>(to), d), load(from, d))));
      });
  }

  template <int V, class F>
  static void for_packs(int count, const F& f) {
    if constexpr (V > 1)
      if (count < V) return for_packs<V - 1>(count, f);
    f(std::integral_constant<int, V>{});
  }

  static Pack lane_numbers() {
    W number[width];
    for (int l = 0; l < width; ++l) number[l] = W(l);
    return Pack::load_unaligned(number);
  }

  /// Calls f(key, seen) for the keys from ... to - 1. seen(x) is x in the lanes whose query sees
  /// the key, and 0 in the others.
  template <class F>
  static void for_each_key(const Block& b, int pack, int from, int to, const F& f) {
    const int all = std::min(to, b.last_key(pack * width) + 1);  // end of the keys all lanes see
    const Pack lane = lane_numbers();
    int j = from;
    for (; j < all; ++j) f(j, [](const Pack& yes) { return yes; });
    for (; j < to; ++j) {
      const auto seen = lane >= Pack(W(j - b.last_key(pack * width)));
      f(j, [&](const Pack& yes) { return xsimd::select(seen, yes, Pack(W(0))); });
    }
  }

  /// p = softmax over the keys of each lane, times dropout; writes lse.
  static void softmax(const Block& b, W* lse) {
    const bool dropped = b.s.dropout.active();
    if (dropped) draw(b);
    for (int pack = 0; pack < b.registers; ++pack) {
      W* p = b.p + pack * width;
      const Pack lane = lane_numbers();
      Pack max = Pack::load_unaligned(p);  // every query sees key 0
      const int all = std::min(b.keys, b.last_key(pack * width) + 1);
      for (int j = 1; j < all; ++j) max = xsimd::max(max, Pack::load_unaligned(p + j * lanes));
      for (int j = std::max(1, all); j < b.keys; ++j) {
        const auto seen = lane >= Pack(W(j - b.last_key(pack * width)));
        max = xsimd::select(seen, xsimd::max(max, Pack::load_unaligned(p + j * lanes)), max);
      }
      Pack sum(W(0));
      for (int block = 0; block < b.keys; block += sum_block) {
        Pack part(W(0));
        for_each_key(
            b, pack, block, std::min(b.keys, block + sum_block), [&](int j, const auto& seen) {
              const Pack e = seen(kernel::exp(Pack(Pack::load_unaligned(p + j * lanes) - max)));
              e.store_unaligned(p + j * lanes);
              part += e;
            });
        sum += part;
      }
      const Pack inverse = Pack(W(1)) / sum;
      for (int j = 0; j < b.keys; ++j) {
        Pack value = Pack::load_unaligned(p + j * lanes) * inverse;
        if (dropped) value = value * Pack::load_unaligned(b.drop + pack * width + j * lanes);
        value.store_unaligned(p + j * lanes);
      }
      W log_sum[width];
      (max + kernel::log(sum)).store_unaligned(log_sum);
      for (int l = 0; l < std::min(width, b.count - pack * width); ++l)
        lse[b.lse_at(pack * width + l)] = log_sum[l];
    }
  }

  /// Expects the scores in p and v dout^T in dp. Replaces p by the probabilities times dropout, and
  /// dp by the gradient of the scores.
  static void differentiate(const Block& b, const T* out, const T* dout, const W* lse, W scale) {
    const bool dropped = b.s.dropout.active();
    if (dropped) draw(b);
    for (int pack = 0; pack < b.registers; ++pack) {
      W log_sum[width] = {}, delta[width] = {};
      for (int l = 0; l < std::min(width, b.count - pack * width); ++l) {
        const std::ptrdiff_t at = (pack * width + l) * b.query_stride();
        log_sum[l] = lse[b.lse_at(pack * width + l)];
        delta[l] = SimdGroup<W>{}.sum(b.s.head_dim, [&]<class V>(Lane<V> d) -> V {
          return load(out + at, d) * load(dout + at, d);
        });
      }
      const Pack log_sums = Pack::load_unaligned(log_sum), deltas = Pack::load_unaligned(delta);
      W *p = b.p + pack * width, *dp = b.dp + pack * width;
      for_each_key(b, pack, 0, b.keys, [&](int j, const auto& seen) {
        const Pack share = seen(kernel::exp(Pack(Pack::load_unaligned(p + j * lanes) - log_sums)));
        Pack dshare = Pack::load_unaligned(dp + j * lanes), kept = share;
        if (dropped) {
          const Pack factor = Pack::load_unaligned(b.drop + pack * width + j * lanes);
          dshare = dshare * factor;
          kept = share * factor;
        }
        kept.store_unaligned(p + j * lanes);
        (share * (dshare - deltas) * Pack(scale)).store_unaligned(dp + j * lanes);
      });
    }
  }

  /// Writes the dropout factors of the block, in its layout. Eight consecutive keys share one call
  /// of the random number generator. If these groups of eight start at the same key in every row,
  /// the lanes draw together.
  static void draw(const Block& b) {
    const Dropout drop = b.s.dropout.of_step();
    const DropoutThreshold<W> factor(drop);
    const auto start = [&](int lane) {
      const std::ptrdiff_t row = (b.sequence * b.s.heads + b.head) * b.s.queries + b.first + lane;
      return std::uint64_t(row) * std::uint64_t(b.s.keys);
    };
    if (b.s.keys % 8 == 0) {
      for (int pack = 0; pack < b.registers; ++pack) {
        std::uint64_t number[width];
        for (int l = 0; l < width; ++l) number[l] = start(pack * width + l) / 8;
        for (int j = 0; j < b.keys; j += 8) {
          std::uint32_t word[4][width];
          philox_lanes(drop.seed, drop.stream, number, word);
          for (int e = 0; e < 8; ++e)
#pragma GCC unroll 1
            for (int l = 0; l < width; ++l)
              b.drop[(j + e) * lanes + pack * width + l] = factor(word[e / 2][l], e);
          for (int l = 0; l < width; ++l) ++number[l];
        }
      }
      return;
    }
    for (int l = 0; l < b.count; ++l) {
      W* const to = b.drop + l;
      for (int j = 0; j < b.keys;) {
        const std::uint64_t index = start(l) + std::uint64_t(j);
        const RandomWords words = philox(drop.seed, drop.stream, index / 8);
        for (int e = int(index % 8); e < 8 && j < b.keys; ++e, ++j)
          to[j * lanes] = factor(words.word[e / 2], e);
      }
    }
  }

  int threads_;
  std::vector<Workspace> space_;
};

}  // namespace moe::detail
