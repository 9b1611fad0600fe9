#pragma once
#include <cmath>
#include <cstddef>
#include <moe/backend/backend.hpp>
#include <moe/kernels/chunk.hpp>
#include <moe/kernels/gradient_norm.hpp>
#include <moe/tree/leaves.hpp>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

/// min(1, clip / norm): the factor that reduces a gradient with L2 norm `norm` to `clip`.
inline double clip_factor(double norm, double clip) {
  return norm > clip ? clip / norm : 1;
}

/// The L2 norm of a gradient over all leaves except expert biases, which hold loads, not gradients.
/// The backend sums chunks of fixed length, which are then added in double, in order: the same bits
/// for any number of threads. A value whose square overflows counts as non-finite.
/// Never throws or allocates after construction.  Test: tests/optim/gradient_norm.cpp.
///
///     moe::GradientNorm<moe::Cpu<float>, Params> norm{backend};
///     const double factor = moe::clip_factor(norm.measure(grads), 1.0);
template <class B, class Params>
class GradientNorm {
  using T = Wide<B>;

 public:
  explicit GradientNorm(B& be)
      : be_(&be),
        arena_(be, bytes_needed()),
        partial_(bytes_needed() / sizeof(T)),
        squares_(matrices()) {}

  /// The bytes of the backend's memory that a GradientNorm holds.
  static std::size_t bytes_needed() {
    std::size_t partials = 0;
    for (const LeafInfo& leaf : leaves<Params>())
      if (measured(leaf)) partials += std::size_t(leaf.count) * std::size_t(chunks(leaf));
    return partials * sizeof(T);
  }

  /// Returns the norm; infinite or NaN if any gradient is.
  double measure(const Params& grads) {
    launch(grads);
    double total = 0;
    std::size_t at = 0, matrix = 0, number = 0;
    first_bad_ = none;
    for (const LeafInfo& leaf : leaves<Params>()) {
      for (int i = 0; measured(leaf) && i < leaf.count; ++i) {
        double square = 0;
        for (int c = 0; c < chunks(leaf); ++c) square += double(partial_[at++]);
        squares_[matrix++] = square;
        total += square;
        if (first_bad_ == none && !std::isfinite(square)) first_bad_ = number;
      }
      ++number;
    }
    return std::sqrt(total);
  }

  /// After measure: the squared norms of the matrices of all measured leaves, in order. The address
  /// is the same after every call.
  const double* squares() const { return squares_.data(); }

  /// After measure: the path of the first leaf with a non-finite gradient, or empty.
  std::string first_non_finite() const {
    return first_bad_ == none ? "" : leaf_names<Params>()[first_bad_];
  }

  /// True if a leaf counts towards the norm.
  static bool measured(const LeafInfo& leaf) { return leaf.role != Role::expert_bias; }

 private:
  static constexpr std::size_t none = std::size_t(-1);

  static int chunks(const LeafInfo& leaf) {
    return kernel::chunks(std::ptrdiff_t(leaf.rows) * leaf.cols);
  }
  static std::size_t matrices() {
    std::size_t total = 0;
    for (const LeafInfo& leaf : leaves<Params>())
      if (measured(leaf)) total += std::size_t(leaf.count);
    return total;
  }

  void launch(const Params& grads) {
    T* const partial = reinterpret_cast<T*>(arena_.data());
    T* at = partial;
    for (const LeafInfo& leaf : leaves<Params>()) {
      if (!measured(leaf)) continue;
      const int n = leaf.count * chunks(leaf);
      const T* const grad = view<T>(grads, leaf).data;
      be_->rows(n, kernel::NormSquare<T>{std::ptrdiff_t(leaf.rows) * leaf.cols, grad, at});
      at += n;
    }
    be_->synchronize();
    be_->download(partial_.data(), partial, partial_.size() * sizeof(T));
  }

  B* be_;
  Arena<B> arena_;
  std::vector<T> partial_;
  std::vector<double> squares_;
  std::size_t first_bad_ = none;
};

}  // namespace moe
