#pragma once
#include <concepts>
#include <cstddef>
#include <moe/core/bfloat16.hpp>
#include <moe/core/random.hpp>
#include <moe/core/tensor.hpp>
#include <utility>

namespace moe {

/// The CPU of this machine: moe/backend/cpu.hpp.
template <class T = float>
class Cpu;

/// The number type of activations in memory: float, double, or bfloat16.
template <class B>
using Scalar = typename B::Value;
/// The number type of parameters, gradients, optimiser state, the router and all sums: Value, or
/// float where Value is narrower.
template <class B>
using Wide = typename B::Wide;

/// C = alpha * A * B + beta * C (+ bias in every row). With beta = 0 the old C is never read.
/// T is the backend's Wide. `exact`: operands of that type are not rounded to a narrower Value
/// before they are multiplied (routers).
template <class T>
struct GemmOptions {
  T alpha = T(1), beta = T(0);
  const T* bias = nullptr;
  bool exact = false;
};

/// Causal attention over `sequences` equally long sequences. The queries are the last of the keys:
/// query i of a sequence sees its keys 0 ... keys - queries + i. Training has queries = keys; a
/// generator with a cache has fewer queries, and `key_rows` rows of room for each sequence.
/// Row layout: q and out (sequences * queries, heads * head_dim); k and v (sequences * key_rows,
/// kv_heads * head_dim). Query head h reads key head h / (heads / kv_heads). Scale
/// 1/sqrt(head_dim).
struct AttentionShape {
  int sequences, queries, keys, key_rows, heads, kv_heads, head_dim;
  Dropout dropout =
      {};  // element ((sequence * heads + h) * queries + i) * keys + j of the probabilities
};

namespace detail {
struct AnyKernel {
  template <class Group>
  void operator()(const Group&, int) const {}
  template <class V>
  void operator()(Lane<V>) const {}
};
}  // namespace detail

/// Memory in one block; `upload` and `download` cross between host and device.
template <class B>
concept OwnsMemory = requires(B& be, std::byte* block, void* to, const void* from,
                              std::size_t bytes) {
  { be.allocate(bytes) } -> std::same_as<std::byte*>;  // 256-byte aligned, zeroed
  be.release(block, bytes);
  be.zero(to, bytes);
  be.copy(to, from, bytes);
  be.upload(to, from, bytes);
  be.download(to, from, bytes);
  be.synchronize();
};

/// rows: kernel(group, r) for r in 0 ... n-1, in any order, each row by one group. A group offers
/// for_each(n, f(lane)), for_each_index(n, f(int)), sum(n, f(lane)) and max(n, f(lane)), n >= 1.
/// columns: kernel(lane) for lanes that cover 0 ... n-1; a kernel loops over rows itself, in order.
/// Lanes are of Wide numbers.
template <class B>
concept RunsKernels = requires(B& be, int n, const detail::AnyKernel& kernel) {
  be.rows(n, kernel);
  be.columns(n, kernel);
};

/// Matrix products. Every element of C is one sum over k whose order depends on nothing but k: not
/// on threads, not on the number of rows, not on the row's place. Operands and C are of Value or of
/// Wide numbers. Where Value is narrower, Wide operands are rounded to it first unless `exact`; all
/// else is done in Wide, and an element of a C of Values is rounded once, beta * C included.
///
/// gemm:         C (m, n) from A (m, k), B (k, n).
/// batched_gemm: `batch` such products, operands `*_step` elements apart.
/// grouped_gemm_m: rows offset[g] ... offset[g+1]-1 of A and C with matrix g of B (b_step apart)
///               and bias g (bias_step apart): forward and dX of a mixture of experts.
/// grouped_gemm_k: matrix g of C (c_step apart) gets sum over those rows s of A[s]^T B[s]:
///               A (rows, m), B (rows, n); dW of a mixture of experts. Empty groups give beta * C.
template <class B>
concept Multiplies = requires(B& be, int n, std::ptrdiff_t step, const int* offset,
                              Matrix<const Scalar<B>> a, Matrix<const Wide<B>> w, Scalar<B>* c,
                              Wide<B>* wide, GemmOptions<Wide<B>> o) {
  be.gemm(n, n, n, a, w, c, step, o);     // y = x W^T and dx = dy W
  be.gemm(n, n, n, a, w, wide, step, o);  // the logits of router and head
  be.gemm(n, n, n, w, w, c, step, o);     // dx from their gradients
  be.gemm(n, n, n, w, a, wide, step, o);  // dW from their gradients
  be.gemm(n, n, n, a, a, wide, step, o);  // dW
  be.gemm(n, n, n, w, w, wide, step, o);  // optimisers
  be.batched_gemm(n, n, n, n, w, step, w, step, wide, step, step, o);
  be.grouped_gemm_m(n, offset, n, n, a, w, step, c, step, o, step);
  be.grouped_gemm_k(n, offset, n, n, a, a, wide, step, step, o);
};

/// out = softmax(scale * q k^T, causal) v and lse (rows of q, heads), the log of each softmax's
/// denominator. backward adds to dq, dk, dv. `reserve` is called once with the largest shape.
template <class B>
concept Attends = requires(B& be, const AttentionShape& shape, const Scalar<B>* in, Scalar<B>* out,
                           const Wide<B>* known_lse, Wide<B>* lse) {
  be.reserve(shape);
  be.attention_forward(shape, in, in, in, out, lse);
  be.attention_backward(shape, in, in, in, in, in, known_lse, out, out, out);
};

/// Stable counting sort of n * top_k (token, choice) pairs by expert[t * top_k + j]:
/// slot_of[t * top_k + j], token_of[slot] = t, offset[experts + 1].
template <class B>
concept RoutesTokens = requires(B& be, int n, const int* expert, int* slot_of, int* token_of,
                                int* offset) {
  be.group_by_expert(n, n, n, expert, slot_of, token_of, offset);  // tokens, experts, top_k
};

/// What a model needs of the machine. A new backend is one header with these functions.
template <class B>
concept Backend = OwnsMemory<B> && RunsKernels<B> && Multiplies<B> && Attends<B> && RoutesTokens<B>;

/// One block of a backend's memory, released at the end of its life.
template <class B>
class Arena {
 public:
  Arena() = default;
  Arena(B& be, std::size_t bytes) : be_(&be), data_(be.allocate(bytes)), bytes_(bytes) {}
  Arena(Arena&& other) noexcept { swap(other); }
  Arena& operator=(Arena&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Arena() {
    if (data_) be_->release(data_, bytes_);
  }

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(Arena& other) noexcept {
    std::swap(be_, other.be_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  B* be_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace moe
