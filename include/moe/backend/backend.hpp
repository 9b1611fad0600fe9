#pragma once
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <moe/core/bfloat16.hpp>
#include <moe/core/random.hpp>
#include <moe/core/tensor.hpp>
#include <string>
#include <type_traits>
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

namespace detail {
template <class B>
struct WeightOf {
  using type = Wide<B>;
};
template <class B>
requires requires {
  typename B::Weight;
}
struct WeightOf<B> {
  using type = typename B::Weight;
};
}  // namespace detail

/// The type in which a model's matrices are stored: `Wide`, or what a backend names `Weight`
/// because its models are only run (backend/inference.hpp), and not trained.
template <class B>
using Weight = typename detail::WeightOf<B>::type;
template <class B>
inline constexpr bool trains = !requires {
  typename B::Weight;
};

/// How a product treats operands of type Wide. rounded: they are first rounded to the backend's
/// Value type. exact: they are multiplied as they are, as routers need.
enum class Precision { rounded, exact };

/// C = alpha * A * B + bias + beta * C, with the bias added to every row. With beta = 0 the old C
/// is not read. T is the backend's Wide type.
template <class T>
struct GemmOptions {
  T alpha = T(1), beta = T(0);
  const T* bias = nullptr;
  Precision precision = Precision::rounded;
};

/// C = square * A A^T + linear * A + identity * I. Unless this is A A^T alone, A is symmetric, (m,
/// m) and contiguous.
template <class T>
struct SymmetricOptions {
  T square = T(1), linear = T(0), identity = T(0);
  Precision precision = Precision::rounded;

  bool is_plain() const { return square == T(1) && linear == T(0) && identity == T(0); }
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

/// True if a backend says `static constexpr bool repeats_steps = true`: it records the launches of
/// a training step and repeats them. The arguments of kernels are then the same in every step, and
/// the number of the step is in its memory.
template <class B>
inline constexpr bool repeats_steps = false;
template <class B>
requires(B::repeats_steps) inline constexpr bool repeats_steps<B> = true;

namespace detail {
struct AnyRowKernel {
  template <class Group>
  void operator()(const Group&, int) const {}
};
struct AnyColumnKernel {
  static constexpr int sums = 1;
  template <class V>
  void add(V*, Lane<V>, int) const {}
  template <class V>
  void store(const V*, Lane<V>, int) const {}
};

/// For a backend of which everything is done when its verb returns: nothing is ever waited for.
struct DoneAtOnce {
  struct Ticket {};
  bool ready(Ticket) const { return true; }
  void wait(Ticket) {}
  void synchronize() {}
};

/// The head_rows of a processor: as many rows as have 2^19 logits (2 MB in float, a large
/// second-level cache), but at least 256, so that reading and packing the head's weight costs
/// little beside the products.
constexpr int head_rows_in_cache(int vocab) {
  return std::clamp((1 << 19) / vocab, 256, 4096);
}

/// One lane of the columns of a backend that adds all rows of a segment in one go.
template <class Kernel, class V>
void add_segments(const Segments& rows, const Kernel& kernel, Lane<V> i, const V& zero) {
  for (int g = 0; g < rows.segments; ++g) {
    const int begin = rows.begin(g), end = rows.end(g);
    if (begin == end) continue;
    V sums[Kernel::sums];
    for (V& sum : sums) sum = zero;
    for (int r = begin; r < end; ++r) kernel.add(sums, i, r);
    kernel.store(sums, i, g);
  }
}
}  // namespace detail

/// Memory, one block per allocation, and the order of things. All verbs of a backend take effect
/// one after the other, in the order of the calls, but a verb may return before that: only
/// `download`, `wait` and `synchronize` make the host wait. No verb reads memory of the host after
/// it has returned, and nothing but the verbs reads or writes the backend's memory. A verb over no
/// bytes or no rows does nothing, and its pointers may be null.
///
/// `upload` copies from host to device, `download` from device to host. `later` does the latter
/// without waiting: the bytes are in place after `wait` for the ticket that it returns, and may be
/// written at any time before; `ready` tells whether that would take no time. What has to be known
/// every step goes this way: a training step contains no other wait, and no allocation.
template <class B>
concept OwnsMemory = std::semiregular<typename B::Ticket> &&
    requires(B& be, std::byte* block, void* to, const void* from, std::size_t bytes,
             typename B::Ticket ticket) {
  { be.allocate(bytes) } -> std::same_as<std::byte*>;  // 256-byte aligned, zeroed
  be.release(block, bytes);
  be.zero(to, bytes);
  be.copy(to, from, bytes);
  be.upload(to, from, bytes);
  be.download(to, from, bytes);
  { be.later(to, from, bytes) } -> std::same_as<typename B::Ticket>;
  { be.ready(ticket) } -> std::same_as<bool>;
  be.wait(ticket);
  be.synchronize();
};

/// rows: calls kernel(group, r) for r in 0 ... n-1 in any order. One group processes one row; on a
/// device it is several threads, which all run the kernel. A group offers for_each(n, f(lane)),
/// for_each_index(n, f(int)), sum(n, f(lane)), total(n, f(int)), max(n, f(lane)) (n >= 1) and
/// once(f()). A kernel writes inside of these functions only: numbers of the row in the first two,
/// what one thread does for all in `once`. They happen one after the other: what one wrote, the
/// next reads, and so does the second of two fused kernels. `sum`, `total` and `max` call f once
/// for each lane or number and give every thread the result. The order of a `sum` is the backend's;
/// `total` adds in double and has the order of serial_total (moe/core/lane.hpp) on all backends.
/// A kernel with `one_lane` = true runs on one thread for each row, calls no function of its group
/// and writes anywhere. A kernel with `width()` tells the length of its rows, so that long ones can
/// get more threads.
///
/// columns: for lanes that together cover 0 ... n-1 and each segment of rows with at least one row:
/// sets `Kernel::sums` sums to 0, calls kernel.add(sums, lane, row) for its rows in order, then
/// kernel.store(sums, lane, segment). A backend may split long segments into parts of a fixed
/// length, whose sums it adds in order.
/// Lanes hold numbers of type Wide.
template <class B>
concept RunsKernels = requires(B& be, int n, Segments segments, const detail::AnyRowKernel& of_rows,
                               const detail::AnyColumnKernel& of_columns) {
  be.rows(n, of_rows);
  be.columns(n, segments, of_columns);
};

/// Matrix products. Every element of C is one sum over k. The order of that sum depends on k only,
/// not on the threads, the number of rows or the position of the row. Operands and C are of type
/// Value or Wide. All arithmetic is done in Wide; an element of a C of type Value is rounded once,
/// after beta * C is added.
///
/// gemm:         C (m, n) from A (m, k), B (k, n).
/// batched_gemm: `batch` such products; their operands are `*_step` elements apart.
/// symmetric_gemm: C = A A^T, and what its options add, for `batch` matrices A (m, k), a_step
/// apart, and C (m, m), contiguous. C is symmetric, so half of it need not be computed.
/// grouped_gemm_m: multiplies the rows of segment g of A by matrix g of B (b_step apart), adds bias
/// g (bias_step apart) and writes the same rows of C. Forward and dX of a mixture of experts.
/// grouped_gemm_k: matrix g of C (c_step apart) = sum of A[s]^T B[s] over the rows s of segment g,
/// with A (rows, m) and B (rows, n). dW of a mixture of experts. An empty segment gives beta * C.
///
/// Of grouped products only the backend knows the segments: their `offset` is in its memory, and
/// `count` bounds all rows together.
/// Batched products of few matrices stay in a processor's cache. A backend for which many are
/// better says `static constexpr bool whole_stacks = true`.
template <class B>
concept Multiplies = requires(B& be, int n, std::ptrdiff_t step, Segments segments,
                              Matrix<const Value<B>> a, Matrix<const Wide<B>> w, Value<B>* c,
                              Wide<B>* wide, GemmOptions<Wide<B>> o) {
  be.gemm(n, n, n, a, w, c, step, o);     // y = x W^T and dx = dy W
  be.gemm(n, n, n, a, w, wide, step, o);  // the logits of router and head
  be.gemm(n, n, n, w, w, c, step, o);     // dx from their gradients
  be.gemm(n, n, n, w, a, wide, step, o);  // dW from their gradients
  be.gemm(n, n, n, a, a, wide, step, o);  // dW
  be.gemm(n, n, n, w, w, wide, step, o);  // optimizers
  be.gemm(n, n, n, a, a, c, step, o);     // y = x W^T in a model that is only run
  be.batched_gemm(n, n, n, n, w, step, w, step, wide, step, step, o);
  be.symmetric_gemm(n, n, n, w, step, wide, SymmetricOptions<Wide<B>>{});
  be.grouped_gemm_m(segments, n, n, a, w, step, c, step, o, step);
  be.grouped_gemm_m(segments, n, n, a, a, step, c, step, o, step);  // the same
  be.grouped_gemm_k(segments, n, n, a, a, wide, step, step, o);
};

/// The rows of logits that a model's head has in memory at a time: a number that divides the work
/// of head and loss so that it suits the machine, and a limit of the sequences of a generator.
template <class B>
concept DividesHead = requires {
  {std::integral_constant<int, B::head_rows(65)>{}};
};

/// forward: out = softmax(scale * q k^T, causal) v and lse (rows of q, heads), the logarithm of
/// each softmax's denominator. backward adds to dq, dk and dv. Probabilities times dropout, and
/// gradients of scores, are operands of products and rounded to Value. `reserve` is called once,
/// with the largest keys and queries, and with the sequences of a pass; there may be more shorter.
template <class B>
concept Attends = requires(B& be, const AttentionShape& shape, const Value<B>* in, Value<B>* out,
                           const Wide<B>* known_lse, Wide<B>* lse) {
  be.reserve(shape);
  be.attention_forward(shape, in, in, in, out, lse);
  be.attention_backward(shape, in, in, in, in, in, known_lse, out, out, out);
};

/// Stable counting sort of the n * top_k (token, choice) pairs by expert[t * top_k + j]. Writes
/// slot_of[t * top_k + j], token_of[slot] = t and offset[experts + 1], the first slot of each
/// expert. The gradient of an embedding sorts its rows by token with it: "experts" may be as many
/// as a vocabulary has tokens.
template <class B>
concept RoutesTokens = requires(B& be, int n, const int* expert, int* slot_of, int* token_of,
                                int* offset) {
  be.group_by_expert(n, n, n, expert, slot_of, token_of, offset);  // tokens, experts, top_k
};

/// What the backend computes on, for people: "2 threads".
template <class B>
concept DescribesItself = requires(const B& be) {
  { be.describe() } -> std::same_as<std::string>;
};

/// Everything that a model needs from a machine. A new backend is one header with these functions.
template <class B>
concept Backend = OwnsMemory<B> && RunsKernels<B> && Multiplies<B> && DividesHead<B> &&
    Attends<B> && RoutesTokens<B> && DescribesItself<B>;

namespace detail {
/// Waits at the end of its scope for all that was queued: what was to be copied to the host is no
/// longer written then.
template <class B>
struct Synchronized {
  B& be;
  explicit Synchronized(B& backend) : be(backend) {}
  ~Synchronized() { be.synchronize(); }
};
}  // namespace detail

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
