#pragma once
#include <cmath>
#include <cstddef>
#include <moe/backend.hpp>
#include <moe/kernels/update.hpp>
#include <moe/reflect.hpp>
#include <string>
#include <vector>

namespace moe {

/// min(1, clip / norm): the factor that brings a gradient of L2 norm `norm` down to `clip`.
inline double clip_factor(double norm, double clip) {
  return norm > clip ? clip / norm : 1;
}

/// The L2 norm of a gradient over all leaves but selection biases, which hold loads, not gradients.
/// Chunks of fixed length are summed by the backend and added in double in order: same bits for any
/// thread count. A value whose square overflows its type counts as non-finite.
/// Never throws or allocates after construction.  Test: tests/optim/clip.cpp.
///
///     moe::GradientNorm<moe::Cpu<float>, Params> norm{backend};
///     const double factor = moe::clip_factor(norm.measure(grads), 1.0);
template <class B, class Params>
class GradientNorm {
  using T = Scalar<B>;

 public:
  explicit GradientNorm(B& be)
      : be_(&be),
        arena_(be, bytes_needed()),
        partial_(size().partials),
        squares_(size().matrices) {}

  /// Bytes of the backend's memory that a GradientNorm holds.
  static std::size_t bytes_needed() { return size().partials * sizeof(T); }

  /// The norm; infinite or NaN if any gradient is.
  double measure(const Params& grads) {
    launch(grads);
    double total = 0;
    std::size_t at = 0, matrix = 0;
    int leaf_number = 0;
    first_bad_ = none;
    for_each_leaf(
        [&](const auto& leaf) {
          using Leaf = std::remove_cvref_t<decltype(leaf)>;
          if constexpr (measured<Leaf>) {
            for (int i = 0; i < Leaf::count; ++i) {
              double square = 0;
              for (int c = 0; c < chunks<Leaf>; ++c) square += double(partial_[at++]);
              squares_[matrix++] = square;
              total += square;
              if (first_bad_ == none && !std::isfinite(square)) first_bad_ = leaf_number;
            }
          }
          ++leaf_number;
        },
        grads);
    return std::sqrt(total);
  }

  /// After measure: the squared norm of one matrix, counted over all measured leaves in order.
  double square(std::size_t matrix) const { return squares_[matrix]; }

  /// After measure: the path of the first leaf with a non-finite gradient, empty if there is none.
  std::string first_non_finite() const {
    std::string found;
    int leaf_number = 0;
    Params tree{};
    for_each_named_leaf(
        [&](const std::string& path, auto&) {
          if (leaf_number++ == first_bad_) found = path;
        },
        "", tree);
    return found;
  }

  /// Whether a leaf counts towards the norm.
  template <class Leaf>
  static constexpr bool measured = Leaf::role != Role::selection_bias;

 private:
  static constexpr int none = -1;

  template <class Leaf>
  static constexpr std::ptrdiff_t matrix_size = std::ptrdiff_t(Leaf::rows) * Leaf::cols;
  template <class Leaf>
  static constexpr int chunks = kernel::chunks(matrix_size<Leaf>);

  struct Size {
    std::size_t partials = 0, matrices = 0;
  };
  static Size size() {
    Size total;
    Params tree{};
    for_each_leaf(
        [&](auto& leaf) {
          using Leaf = std::remove_cvref_t<decltype(leaf)>;
          if constexpr (measured<Leaf>) {
            total.matrices += std::size_t(Leaf::count);
            total.partials += std::size_t(Leaf::count) * std::size_t(chunks<Leaf>);
          }
        },
        tree);
    return total;
  }

  void launch(const Params& grads) {
    T* const partial = reinterpret_cast<T*>(arena_.data());
    T* at = partial;
    for_each_leaf(
        [&](const auto& leaf) {
          using Leaf = std::remove_cvref_t<decltype(leaf)>;
          if constexpr (measured<Leaf>) {
            const int n = Leaf::count * chunks<Leaf>;
            be_->rows(n, kernel::NormSquare<T>{matrix_size<Leaf>, leaf.data, at});
            at += n;
          }
        },
        grads);
    be_->synchronize();
    be_->download(partial_.data(), partial, partial_.size() * sizeof(T));
  }

  B* be_;
  Arena<B> arena_;
  std::vector<T> partial_;
  std::vector<double> squares_;
  int first_bad_ = none;
};

}  // namespace moe
