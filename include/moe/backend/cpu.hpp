#pragma once
#include <algorithm>
#include <cstring>
#include <moe/backend/backend.hpp>
#include <moe/backend/cpu/attention/attention.hpp>
#include <moe/backend/cpu/gemm/gemm.hpp>
#include <moe/backend/cpu/memory.hpp>
#include <moe/backend/cpu/simd/activation.hpp>
#include <moe/backend/cpu/simd/lane_block.hpp>
#include <moe/core/error.hpp>
#include <moe/core/in_use.hpp>
#include <moe/kernels/newton_schulz.hpp>
#include <string>

namespace moe::inline MOE_ISA {

/// The cores of this machine: OpenMP threads over rows, xsimd registers as lanes, packed matrix
/// products. Results have the same bits for every number of threads. A backend serves one caller at
/// a time: give each thread of a server its own backend and model. After fork() the child computes
/// on one thread, with the same bits.
///
///     moe::Cpu backend;              // float, all cores
///     moe::Cpu<double> checker{1};   // one thread
///     moe::Cpu<moe::bfloat16> narrow;  // activations in half the memory, all else float
///
/// Errors: moe::Error if memory is short, if the number of threads makes no sense, or if a thread
/// calls while another one is inside.
/// Test: tests/backend/cpu.cpp, against Reference<double>; tests/core/in_use.cpp.
template <class T>
class Cpu : public detail::DoneAtOnce {
 public:
  using Value = T;
  using Wide = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;
  using Group = detail::SimdGroup<Wide>;

  /// `threads` = 0: as many as OpenMP would use. `bf16_products`: how bfloat16 operands are
  /// multiplied; it has no effect for float and double. `float_products`: the same for float; it
  /// has no effect for double and bfloat16.
  explicit Cpu(int threads = 0, Bf16Products bf16_products = Bf16Products::measured,
               FloatProducts float_products = FloatProducts::fma)
      : threads_(detail::checked_threads(threads)),
        gemm_(threads_, bf16_products, float_products),
        attention_(threads_, bf16_products) {}
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  int threads() const { return threads_; }
  std::string describe() const {
    return std::to_string(threads_) + (threads_ == 1 ? " thread" : " threads");
  }
  static constexpr int head_rows(int vocab) { return detail::head_rows_in_cache(vocab); }
  /// Bytes of the threads' workspaces for products and for attention of this shape.
  static std::size_t workspace_bytes(int threads, const AttentionShape& shape) {
    return std::size_t(threads) * (detail::Gemm<Wide, T>::bytes_of_thread() +
                                   detail::BlockAttention<Wide, T>::bytes_of_thread(shape));
  }
  /// Reserves this backend for the calling thread, for the lifetime of the returned object.
  [[nodiscard]] auto hold() { return in_use_.hold("a backend"); }

  std::byte* allocate(std::size_t bytes) { return detail::allocate_zeroed(bytes, threads_); }
  void release(std::byte* block, std::size_t bytes) { detail::release(block, bytes); }
  void zero(void* to, std::size_t bytes) {
    const auto in_use = hold();
    in_pieces(bytes, [&](std::size_t at, std::size_t n) {
      std::memset(static_cast<std::byte*>(to) + at, 0, n);
    });
  }
  void copy(void* to, const void* from, std::size_t bytes) {
    const auto in_use = hold();
    in_pieces(bytes, [&](std::size_t at, std::size_t n) {
      std::memcpy(static_cast<std::byte*>(to) + at, static_cast<const std::byte*>(from) + at, n);
    });
  }
  void upload(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  Ticket later(void* to, const void* from, std::size_t bytes) {
    download(to, from, bytes);
    return {};
  }

  template <class Kernel>
  void rows(int n, const Kernel& kernel) {
    const auto in_use = hold();
    constexpr int few = 16;  // too few rows to be worth waking the other threads
    const int parts = n <= few || threads_ == 1 ? 1 : n < 4 * threads_ ? threads_ : 4 * threads_;
    detail::parallel(threads_, parts, [&](int part, int) {
      const auto [first, end] = detail::share(n, parts, part, 1);
      detail::run_rows<Group, Kernel>(&kernel, first, end);
    });
  }

  /// Threads get ranges of whole blocks, so the number of threads does not change which columns are
  /// computed together.
  template <class Kernel>
  void columns(int n, Segments rows, const Kernel& kernel) {
    const auto in_use = hold();
    const auto add = [&]<class V>(Lane<V> i) { detail::add_segments(rows, kernel, i, V(Wide(0))); };
    constexpr int width = Group::width, several = 4, block = several * width;
    const int parts = n <= 2 * width ? 1 : threads_;
    detail::parallel(parts, parts, [&](int part, int) {
      const auto [first, end] = detail::share(n, parts, part, block);
      int i = first;
      for (; i + block <= end; i += block) add(Lane<detail::LaneBlock<Wide, several>>{i});
      for (; i + width <= end; i += width) add(typename Group::Pack{i});
      for (; i < end; ++i) add(Lane<Wide>{i});
    });
  }

  template <class A = T, class B = T, class C = T>
  void gemm(int m, int n, int k, Matrix<const A> a, Matrix<const B> b, C* c, std::ptrdiff_t ldc,
            GemmOptions<Wide> o = {}) {
    const auto in_use = hold();
    gemm_.gemm(m, n, k, a, b, c, ldc, o);
  }
  template <class A, class B, class C, class Kernel>
  void gemm_then(int m, int n, int k, Matrix<const A> a, Matrix<const B> b, C* c,
                 std::ptrdiff_t ldc, GemmOptions<Wide> o, const Kernel& kernel) {
    const auto in_use = hold();
    const bool together = gemm_.divides_rows(m, n, k);
    gemm_.gemm(m, n, k, a, b, c, ldc, o, together ? after(kernel) : detail::RowsAfter());
    if (!together) rows(m, kernel);
  }
  template <class A = T, class B = T, class C = T>
  void batched_gemm(int batch, int m, int n, int k, Matrix<const A> a, std::ptrdiff_t a_step,
                    Matrix<const B> b, std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc,
                    std::ptrdiff_t c_step, GemmOptions<Wide> o = {}) {
    const auto in_use = hold();
    gemm_.batched_gemm(batch, m, n, k, a, a_step, b, b_step, c, ldc, c_step, o);
  }
  void symmetric_gemm(int batch, int m, int k, Matrix<const Wide> a, std::ptrdiff_t a_step, Wide* c,
                      SymmetricOptions<Wide> o) {
    MOE_EXPECTS(o.is_plain() || k == m, "a polynomial of a matrix needs a square one, not ", m,
                " x ", k);
    // Strips of rows from the diagonal on. Four save 3/8 of the work; for small matrices that is
    // not worth it.
    const int strip = m < 128 ? m : (m + 3) / 4;
    for (int first = 0; first < m; first += strip) {
      const Matrix<const Wide> part{a.data + first * a.row_stride, a.row_stride, a.col_stride};
      batched_gemm(batch, std::min(strip, m - first), m - first, k, part, a_step, transposed(part),
                   a_step, c + std::ptrdiff_t(first) * m + first, m, std::ptrdiff_t(m) * m,
                   {.precision = o.precision});
    }
    if (!o.is_plain())
      rows(batch * m,
           kernel::Polynomial<Wide>{m, strip, a.data, c, o.identity, o.linear, o.square});
    if (strip < m) rows(batch * m, kernel::Mirror<Wide>{m, strip, c});
  }
  template <class A = T, class B = T, class C = T>
  void grouped_gemm_m(Segments rows, int n, int k, Matrix<const A> a, Matrix<const B> b,
                      std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc, GemmOptions<Wide> o = {},
                      std::ptrdiff_t bias_step = 0) {
    const auto in_use = hold();
    MOE_EXPECTS(rows.offset, "grouped products need the offsets of their segments");
    gemm_.grouped_gemm_m(rows.segments, rows.offset, n, k, a, b, b_step, c, ldc, o, bias_step);
  }
  template <class A, class B, class C, class Kernel>
  void grouped_gemm_m_then(Segments slots, int n, int k, Matrix<const A> a, Matrix<const B> b,
                           std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc, GemmOptions<Wide> o,
                           std::ptrdiff_t bias_step, const Kernel& kernel) {
    const auto in_use = hold();
    MOE_EXPECTS(slots.offset, "grouped products need the offsets of their segments");
    const int count = slots.offset[slots.segments] - slots.offset[0];
    const bool together = gemm_.divides_rows(count, n, k);
    gemm_.grouped_gemm_m(slots.segments, slots.offset, n, k, a, b, b_step, c, ldc, o, bias_step,
                         together ? after(kernel) : detail::RowsAfter());
    if (!together) rows(slots.count, kernel);
  }
  template <class A = T, class B = T, class C = T>
  void grouped_gemm_k(Segments rows, int m, int n, Matrix<const A> a, Matrix<const B> b, C* c,
                      std::ptrdiff_t ldc, std::ptrdiff_t c_step, GemmOptions<Wide> o = {}) {
    const auto in_use = hold();
    MOE_EXPECTS(rows.offset, "grouped products need the offsets of their segments");
    gemm_.grouped_gemm_k(rows.segments, rows.offset, m, n, a, b, c, ldc, c_step, o);
  }

  void reserve(const AttentionShape& shape) {
    const auto in_use = hold();
    attention_.reserve(shape);
  }
  void attention_forward(const AttentionShape& s, const T* q, const T* k, const T* v, T* out,
                         Wide* lse) {
    const auto in_use = hold();
    attention_.forward(s, q, k, v, out, lse);
  }
  void attention_backward(const AttentionShape& s, const T* q, const T* k, const T* v, const T* out,
                          const T* dout, const Wide* lse, T* dq, T* dk, T* dv) {
    const auto in_use = hold();
    attention_.backward(s, q, k, v, out, dout, lse, dq, dk, dv);
  }

  void group_by_expert(int tokens, int experts, int top_k, const int* expert, int* slot_of,
                       int* token_of, int* offset) {
    const auto in_use = hold();
    const int slots = tokens * top_k;
    std::fill(offset, offset + experts + 1, 0);
    for (int i = 0; i < slots; ++i) ++offset[expert[i] + 1];
    for (int e = 0; e < experts; ++e) offset[e + 1] += offset[e];
    for (int i = 0; i < slots; ++i) {
      const int slot = offset[expert[i]]++;
      slot_of[i] = slot;
      token_of[slot] = i / top_k;
    }
    // Each offset has advanced to the end of its expert, which is the start of the next.
    for (int e = experts; e > 0; --e) offset[e] = offset[e - 1];
    offset[0] = 0;
  }

 private:
  template <class Kernel>
  static detail::RowsAfter after(const Kernel& kernel) {
    return {detail::run_rows<Group, Kernel>, &kernel};
  }
  template <class F>
  void in_pieces(std::size_t bytes, const F& work) {
    constexpr std::size_t piece = std::size_t(1) << 20;
    if (bytes <= piece) {
      if (bytes > 0) work(std::size_t(0), bytes);
      return;
    }
    detail::parallel(threads_, int((bytes + piece - 1) / piece), [&](int i, int) {
      const std::size_t at = std::size_t(i) * piece;
      work(at, bytes - at < piece ? bytes - at : piece);
    });
  }

  detail::InUse in_use_;
  int threads_;
  detail::Gemm<Wide, T> gemm_;
  detail::BlockAttention<Wide, T> attention_;
};

static_assert(Backend<Cpu<float>> && Backend<Cpu<double>> && Backend<Cpu<bfloat16>>);

}  // namespace moe
