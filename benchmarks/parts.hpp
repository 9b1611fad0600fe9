#pragma once
#include <array>
#include <chrono>
#include <moe/backend/backend.hpp>
#include <moe/kernels/cross_entropy.hpp>
#include <moe/kernels/fuse.hpp>
#include <string_view>
#include <type_traits>
#include <utility>

// Measures where the time of a step goes, without changes in the library: every function of a
// backend is timed and assigned to a part of the model.

namespace bench {

enum class Part { norms, attention, router, experts, head, optimizer, other };
inline constexpr const char* part_names[] = {"norms", "attention", "router", "experts",
                                             "head",  "optimizer", "other"};
inline constexpr std::size_t part_count = std::size(part_names);
using PartSeconds = std::array<double, part_count>;

namespace detail {
/// `text` is the name of a function with [... Kernel = moe::kernel::NAME<...>] in it. Fused kernels
/// count as the first part below that one of them belongs to.
constexpr Part part_of_name(std::string_view text) {
  constexpr std::string_view space = "::kernel::";
  text.remove_prefix(text.find("Kernel = "));
  text.remove_prefix(text.find(space) + space.size());
  const auto has = [&](std::string_view word) { return text.find(word) != text.npos; };
  if (has("Norm")) return Part::norms;
  if (has("CrossEntropy")) return Part::head;
  if (has("Route") || has("ColumnMean") || has("LoadExcess")) return Part::router;
  if (has("Activation") || has("Slots") || has("Combine") || has("GateGrad")) return Part::experts;
  if (has("Rope") || has("BiasGrad")) return Part::attention;
  return Part::other;
}
template <class Kernel>
constexpr Part part_of_type() {
  return part_of_name(__PRETTY_FUNCTION__);
}
using HeadForward = moe::kernel::CrossEntropyForward<float>;
using HeadBackward = moe::kernel::CrossEntropyBackward<float>;
static_assert(part_of_type<HeadForward>() == Part::head);
static_assert(part_of_type<moe::kernel::Fused<HeadForward, HeadBackward>>() == Part::head);
}  // namespace detail

/// The part that a kernel of the forward or backward pass belongs to. It is found by the kernel's
/// name, so that most new kernels need no line here.
template <class Kernel>
Part part_of(const Kernel&, moe::Segments rows = {}) {
  constexpr Part part = detail::part_of_type<Kernel>();
  const bool of_experts = part == Part::attention && rows.segments > 1;  // of their biases
  return of_experts ? Part::experts : part;
}

/// A backend whose functions can be timed. Timing is off at first and then costs one branch a call.
/// Functions that it does not know run untimed and count as `other`.
///
///     Timed<moe::Cpu<float>> backend{threads};
///     backend.watch(true, config.vocab, config.moe.experts);
template <class B>
class Timed : public B {
 public:
  using typename B::Value;
  using Options = moe::GemmOptions<typename B::Wide>;
  using In = moe::Matrix<const Value>;
  using B::B;

  /// Switches timing on or off. A product of which one size is `vocab` counts as the head's, one of
  /// which one size is `experts` as the router's, others as attention's.
  void watch(bool on, int vocab = 0, int experts = 0) {
    on_ = on;
    vocab_ = vocab;
    experts_ = experts;
    seconds_ = {};
  }
  const PartSeconds& seconds() const { return seconds_; }

  template <class Kernel>
  void rows(int n, const Kernel& kernel) {
    timed(bench::part_of(kernel), [&] { B::rows(n, kernel); });
  }
  template <class Kernel>
  void columns(int n, moe::Segments rows, const Kernel& kernel) {
    timed(bench::part_of(kernel, rows), [&] { B::columns(n, rows, kernel); });
  }

  // Each product has two overloads: a template for operands of any type, and one for Value that
  // also accepts operands in braces.
  template <class X, class Y, class Z, class... More>
  void gemm(int m, int n, int k, moe::Matrix<X> a, moe::Matrix<Y> b, Z* c, std::ptrdiff_t ldc,
            Options o = {}, More&&... more) {
    timed(product(m, n, k), [&] { B::gemm(m, n, k, a, b, c, ldc, o, more...); });
  }
  void gemm(int m, int n, int k, In a, In b, Value* c, std::ptrdiff_t ldc, Options o = {}) {
    timed(product(m, n, k), [&] { B::gemm(m, n, k, a, b, c, ldc, o); });
  }
  template <class X, class Y, class Z, class... More>
  void grouped_gemm_m(moe::Segments rows, int n, int k, moe::Matrix<X> a, moe::Matrix<Y> b,
                      std::ptrdiff_t b_step, Z* c, std::ptrdiff_t ldc, Options o = {},
                      More&&... more) {
    timed(Part::experts, [&] { B::grouped_gemm_m(rows, n, k, a, b, b_step, c, ldc, o, more...); });
  }
  void grouped_gemm_m(moe::Segments rows, int n, int k, In a, In b, std::ptrdiff_t b_step, Value* c,
                      std::ptrdiff_t ldc, Options o = {}, std::ptrdiff_t bias_step = 0) {
    timed(Part::experts,
          [&] { B::grouped_gemm_m(rows, n, k, a, b, b_step, c, ldc, o, bias_step); });
  }
  // A product that ends with a kernel counts as the kernel's part.
  template <class X, class Y, class Z, class Kernel>
  void gemm_then(int m, int n, int k, moe::Matrix<X> a, moe::Matrix<Y> b, Z* c, std::ptrdiff_t ldc,
                 Options o, const Kernel& kernel) {
    timed(bench::part_of(kernel), [&] { B::gemm_then(m, n, k, a, b, c, ldc, o, kernel); });
  }
  template <class X, class Y, class Z, class Kernel>
  void grouped_gemm_m_then(moe::Segments rows, int n, int k, moe::Matrix<X> a, moe::Matrix<Y> b,
                           std::ptrdiff_t b_step, Z* c, std::ptrdiff_t ldc, Options o,
                           std::ptrdiff_t bias_step, const Kernel& kernel) {
    timed(bench::part_of(kernel),
          [&] { B::grouped_gemm_m_then(rows, n, k, a, b, b_step, c, ldc, o, bias_step, kernel); });
  }
  template <class X, class Y, class Z, class... More>
  void grouped_gemm_k(moe::Segments rows, int m, int n, moe::Matrix<X> a, moe::Matrix<Y> b, Z* c,
                      std::ptrdiff_t ldc, std::ptrdiff_t c_step, Options o = {}, More&&... more) {
    timed(Part::experts, [&] { B::grouped_gemm_k(rows, m, n, a, b, c, ldc, c_step, o, more...); });
  }
  void grouped_gemm_k(moe::Segments rows, int m, int n, In a, In b, Value* c, std::ptrdiff_t ldc,
                      std::ptrdiff_t c_step, Options o = {}) {
    timed(Part::experts, [&] { B::grouped_gemm_k(rows, m, n, a, b, c, ldc, c_step, o); });
  }

  template <class... Arguments>
  void attention_forward(Arguments&&... arguments) {
    timed(Part::attention, [&] { B::attention_forward(arguments...); });
  }
  template <class... Arguments>
  void attention_backward(Arguments&&... arguments) {
    timed(Part::attention, [&] { B::attention_backward(arguments...); });
  }
  template <class... Arguments>
  void group_by_expert(Arguments&&... arguments) {
    timed(Part::router, [&] { B::group_by_expert(arguments...); });
  }

 private:
  Part product(int m, int n, int k) const {
    const auto any = [&](int side) { return m == side || n == side || k == side; };
    return any(vocab_) ? Part::head : any(experts_) ? Part::router : Part::attention;
  }

  template <class Verb>
  void timed(Part part, const Verb& verb) {
    if (!on_) return verb();
    const auto start = std::chrono::steady_clock::now();
    verb();
    seconds_[std::size_t(part)] +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  bool on_ = false;
  int vocab_ = 0, experts_ = 0;
  PartSeconds seconds_{};
};

}  // namespace bench
