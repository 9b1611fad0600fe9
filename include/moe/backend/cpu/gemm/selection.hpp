#pragma once
#include <moe/backend/cpu/gemm/tiles.hpp>
#include <moe/backend/cpu/roofline.hpp>
#include <moe/core/bfloat16.hpp>
#include <type_traits>

// Which instructions of the processor multiply matrices.

namespace moe::inline MOE_ISA {

/// How two bfloat16 operands are multiplied: widened to float, with the processor's dot product if
/// it has one, or with whichever of the two was measured to be faster. `tiles`: on the matrix unit
/// if there is one, otherwise as measured. It adds in an order of its own, so bits differ.
enum class Bf16Products { measured, widened, dot, tiles };

/// How two float operands are multiplied. `fma`: by fused multiply-adds. `split`: on the matrix
/// unit if there is one, otherwise as `fma`. A float is then the exact sum of three bfloat16
/// numbers, and a product of two floats the sum of six products of such parts:
///     x = x_high + x_middle + x_low
///     a b ~ a_low b_high + a_middle b_high + a_middle b_middle + a_high b_middle + a_high b_low
///           + a_high b_high
/// What is left out is at most about 2^-24 |a b|, as much as the rounding of one product.
///
/// Sums are added in an order of their own, so bits differ from those of `fma`. Of sums of four and
/// more normally distributed terms the largest error, compared with double, is below that of `fma`;
/// of shorter ones it is at most 1.5 times that.
///
/// The unit takes what is below 2^-126 for 0: numbers, parts, products of parts and sums. So
/// numbers below 2^-103 lose their last bits. Infinities and NaN in operands give what they give
/// with `fma`. High parts are rounded, so a result above 0.99 times the largest float may become
/// infinite.
///
/// Source: Henry, Tang & Heinecke 2019, arXiv:1904.06376.  Test: tests/backend/cpu_tiles.cpp.
enum class FloatProducts { fma, split };

namespace detail {

/// The backend of the measurement.
struct OneThread {
  using Wide = float;
  int threads() const { return 1; }
};

/// Whether vdpbf16ps beats FMA on this processor. It runs at half the FMA rate on the first Intel
/// cores that have it, and at twice the FMA rate on Zen 4. Measured once (about 1 ms).
inline bool dot_is_faster() {
  static const bool faster = [] {
    OneThread one;
    const double seconds = 3e-4;
    return bf16_peak_gflops(one, seconds) > 1.2 * fma_peak_gflops(one, seconds);
  }();
  return faster;
}

/// Whether products of a backend that stores T go to the matrix unit if there is one.
template <class T>
constexpr bool wants_tiles(Bf16Products narrow, FloatProducts wide = FloatProducts::fma) {
  if (std::is_same_v<T, bfloat16>) return narrow == Bf16Products::tiles;
  return std::is_same_v<T, float> && wide == FloatProducts::split;
}
/// Whether bfloat16 operands are multiplied with the dot product when they are not on tiles.
inline bool uses_dot(Bf16Products how) {
  return how == Bf16Products::dot || (how != Bf16Products::widened && dot_is_faster());
}

}  // namespace detail
}  // namespace moe
