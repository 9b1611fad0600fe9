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
/// Sums are added in an order of their own, so bits differ from those of `fma`. Compared with
/// double, for normally distributed terms, the root mean square of the errors is 1.04 times that of
/// `fma` for one term, and below it for more. Single sums of up to some ten terms may have more.
///
/// The unit takes what is below 2^-126 for 0: numbers, parts, products of parts and sums. So
/// numbers below 2^-103 lose their last bits, and an infinite number times one below 2^-126 is NaN.
/// Other infinities and NaN in operands give what they give with `fma`. Even and odd terms are
/// summed apart, and high parts are rounded: a sum that comes near to the largest float on its way
/// may be infinite or NaN where that of `fma` is not.
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

/// What this processor can do. Only asked for where it matters: has_tiles asks for permission.
struct ThisProcessor {
  static bool has_tiles() { return detail::has_tiles(); }
  static bool dot_is_faster() { return detail::dot_is_faster(); }
};

/// What multiplies matrices: fused multiply-adds, the dot product of bfloat16 pairs, or tiles.
enum class Multiplier { fma, dot, tiles };

/// The multiplier of a backend that stores T on this processor, or one that a test makes up.
template <class T, class Processor = ThisProcessor>
constexpr Multiplier multiplier_for(Bf16Products narrow, FloatProducts wide = FloatProducts::fma) {
  const bool bf16 = std::is_same_v<T, bfloat16>;
  const bool wants_tiles = bf16 ? narrow == Bf16Products::tiles
                                : std::is_same_v<T, float> && wide == FloatProducts::split;
  if (wants_tiles && Processor::has_tiles()) return Multiplier::tiles;
  if (!bf16 || narrow == Bf16Products::widened) return Multiplier::fma;
  return narrow == Bf16Products::dot || Processor::dot_is_faster() ? Multiplier::dot
                                                                   : Multiplier::fma;
}

}  // namespace detail
}  // namespace moe
