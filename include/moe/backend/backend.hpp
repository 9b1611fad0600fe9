#pragma once
#include <concepts>
#include <cstddef>
#include <moe/core/bfloat16.hpp>
#include <moe/core/random.hpp>
#include <moe/core/tensor.hpp>
#include <utility>

namespace moe::inline MOE_ISA {

/// The CPU of this machine: moe/backend/cpu.hpp.
template <class T = float>
class Cpu;

/// The type in which backend B stores activations: float, double or bfloat16.
template <class B>
using Value = typename B::Value;
/// The type of parameters, gradients, optimizer state, the router and all sums: `Value`, or float
/// if `Value` is narrower.
template <class B>
using Wide = typename B::Wide;

/// C = alpha * A * B + bias + beta * C, with the bias added to every row. With beta = 0 the old C
/// is not read. T is the backend's Wide type.
/// `exact`: operands of type Wide are multiplied as they are. Otherwise they are first rounded to
/// the backend's Value type. Routers use exact products.
template <class T>
struct GemmOptions {
  T alpha = T(1), beta = T(0);
  const T* bias = nullptr;
  bool exact = false;
};

/// Causal attention over `sequences` sequences of equal length. The queries of a sequence stand at
/// its last positions: query i sees the keys 0 ... keys - queries + i. Training has queries = keys;
/// a generator with a key-value cache has fewer queries, and room for `key_rows` keys per sequence.
/// Rows: q and out (sequences * queries, heads * head_dim), k and v (sequences * key_rows, kv_heads
/// * head_dim). Query head h reads key head h / (heads / kv_heads). Scores are scaled by
/// 1/sqrt(head_dim).
struct AttentionShape {
  int sequences, queries, keys, key_rows, heads, kv_heads, head_dim;
  Dropout dropout =
      {};  // index of a probability: ((sequence * heads + h) * queries + i) * keys + j
};

namespace detail {
struct AnyKernel {
  template <class Group>
  void operator()(const Group&, int) const {}
  template <class V>
  void operator()(Lane<V>) const {}
};
}  // namespace detail

/// Memory, one block per allocation. `upload` copies from host to device, `download` from device to
/// host.
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

/// rows: calls kernel(group, r) for r in 0 ... n-1 in any order. One group processes one row. A
/// group offers for_each(n, f(lane)), for_each_index(n, f(int)), sum(n, f(lane)) and max(n,
/// f(lane)), for n >= 1.
/// columns: calls kernel(lane) for lanes that together cover 0 ... n-1. The kernel itself loops
/// over the rows, in order.
/// Lanes hold numbers of type Wide.
template <class B>
concept RunsKernels = requires(B& be, int n, const detail::AnyKernel& kernel) {
  be.rows(n, kernel);
  be.columns(n, kernel);
};

/// Matrix products. Every element of C is one sum over k. The order of that sum depends on k only,
/// not on the threads, the number of rows or the position of the row. Operands and C are of type
/// Value or Wide. If Value is narrower, Wide operands are rounded to Value first, unless `exact`.
/// All arithmetic is done in Wide; an element of a C of type Value is rounded once, after beta * C
/// is added.
///
/// gemm:         C (m, n) from A (m, k), B (k, n).
/// batched_gemm: `batch` such products; their operands are `*_step` elements apart.
/// grouped_gemm_m: multiplies the rows offset[g] ... offset[g+1]-1 of A by matrix g of B (b_step
/// apart), adds bias g (bias_step apart) and writes the same rows of C. Forward and dX of a mixture
/// of experts.
/// grouped_gemm_k: matrix g of C (c_step apart) = sum of A[s]^T B[s] over the rows s of group g,
/// with A (rows, m) and B (rows, n). dW of a mixture of experts. An empty group gives beta * C.
template <class B>
concept Multiplies = requires(B& be, int n, std::ptrdiff_t step, const int* offset,
                              Matrix<const Value<B>> a, Matrix<const Wide<B>> w, Value<B>* c,
                              Wide<B>* wide, GemmOptions<Wide<B>> o) {
  be.gemm(n, n, n, a, w, c, step, o);     // y = x W^T and dx = dy W
  be.gemm(n, n, n, a, w, wide, step, o);  // the logits of router and head
  be.gemm(n, n, n, w, w, c, step, o);     // dx from their gradients
  be.gemm(n, n, n, w, a, wide, step, o);  // dW from their gradients
  be.gemm(n, n, n, a, a, wide, step, o);  // dW
  be.gemm(n, n, n, w, w, wide, step, o);  // optimizers
  be.batched_gemm(n, n, n, n, w, step, w, step, wide, step, step, o);
  be.grouped_gemm_m(n, offset, n, n, a, w, step, c, step, o, step);
  be.grouped_gemm_k(n, offset, n, n, a, a, wide, step, step, o);
};

/// forward: out = softmax(scale * q k^T, causal) v and lse (rows of q, heads), the logarithm of
/// each softmax's denominator. backward adds to dq, dk and dv. `reserve` is called once, with the
/// largest shape.
template <class B>
concept Attends = requires(B& be, const AttentionShape& shape, const Value<B>* in, Value<B>* out,
                           const Wide<B>* known_lse, Wide<B>* lse) {
  be.reserve(shape);
  be.attention_forward(shape, in, in, in, out, lse);
  be.attention_backward(shape, in, in, in, in, in, known_lse, out, out, out);
};

/// Stable counting sort of the n * top_k (token, choice) pairs by expert[t * top_k + j]. Writes
/// slot_of[t * top_k + j], token_of[slot] = t and offset[experts + 1], the first slot of each
/// expert.
template <class B>
concept RoutesTokens = requires(B& be, int n, const int* expert, int* slot_of, int* token_of,
                                int* offset) {
  be.group_by_expert(n, n, n, expert, slot_of, token_of, offset);  // tokens, experts, top_k
};

/// Everything that a model needs from a machine. A new backend is one header with these functions.
template <class B>
concept Backend = OwnsMemory<B> && RunsKernels<B> && Multiplies<B> && Attends<B> && RoutesTokens<B>;

/// Owns one block of a backend's memory.
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
