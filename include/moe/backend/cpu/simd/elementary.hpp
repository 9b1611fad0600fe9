#pragma once
#include <bit>
#include <cstdint>
#include <limits>
#include <moe/backend/cpu/simd/pair.hpp>
#include <moe/core/lane.hpp>

// Elementary functions of a register of floats, for any register width. The polynomials are minimax
// fits (Remez) made for this library.

namespace moe::inline MOE_ISA::detail {

/// coefficients[0] + x * (coefficients[1] + x * (...)).
template <class A, int n>
inline Floats<A> polynomial(const Floats<A>& x, const float (&coefficients)[n]) {
  Floats<A> sum(coefficients[n - 1]);
  for (int i = n - 2; i >= 0; --i) sum = fused(sum, x, Floats<A>(coefficients[i]));
  return sum;
}

/// x * 2^n for integers |n| <= 252, rounded once.
template <class A>
inline Floats<A> scaled(const Floats<A>& x, const Floats<A>& n) {
#ifdef __AVX512F__
  if constexpr (sizeof(x) == 64) return _mm512_scalef_ps(x, n);
#endif
  using Integers = xsimd::batch<std::int32_t, A>;
  const Integers all = xsimd::to_int(n), half = all >> 1;
  const auto power = [](const Integers& e) {
    return std::bit_cast<Floats<A>>(Integers((e + Integers(127)) << 23));
  };
  return x * power(half) * power(all - half);
}

/// e^(x + rest) in the form (1 + fraction) * 2^power with |fraction| < 0.42, for |x| < 200 and a
/// small rest.
template <class A>
struct Exponential {
  Floats<A> fraction, power;

  explicit Exponential(const Floats<A>& x) : Exponential(reduced(x)) {}
  Exponential(const Floats<A>& x, const Floats<A>& rest) : Exponential(reduced(x), rest) {}

  /// e^(x + rest) * a. The result is not normalized: its low part may be large.
  Pair<A> parts(const Pair<A>& a) const {
    const Floats<A> low = fused(a.high, fraction, fused(a.low, fraction, a.low));
    return {scaled(a.high, power), scaled(low, power)};
  }
  Floats<A> times(const Pair<A>& a) const {
    const Floats<A> low = fused(a.high, fraction, fused(a.low, fraction, a.low));
    return scaled(Floats<A>(a.high + low), power);
  }
  Floats<A> value() const { return scaled(Floats<A>(fraction + Floats<A>(1.0f)), power); }

  struct Reduced {
    Floats<A> r, power;
  };
  static Reduced reduced(const Floats<A>& x) {
    const Floats<A> magic(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const Floats<A> n = fused(x, Floats<A>(1.44269504f), magic) - magic;
    const Floats<A> r = fused(n, Floats<A>(-0.693359375f), x);
    return {fused(n, Floats<A>(2.12194440e-4f), r), n};
  }
  /// (e^r - 1 - r) / r^2, by a polynomial.
  static Floats<A> curve(const Floats<A>& r) {
    constexpr float c[] = {0.49999994f, 0.166665196f, 0.0416684002f, 0.00836885162f,
                           0.00138143252f};
    return polynomial(r, c);
  }

 private:
  explicit Exponential(const Reduced& x)
      : fraction(fused(Floats<A>(x.r * x.r), curve(x.r), x.r)), power(x.power) {}
  Exponential(const Reduced& x, const Floats<A>& rest)
      : Exponential(Reduced{x.r + rest, x.power}) {}
};

/// x clamped to [low, high]. NaN stays NaN.
template <class A>
inline Floats<A> limited(float low, const Floats<A>& x, float high) {
  return xsimd::min(Floats<A>(high), xsimd::max(Floats<A>(low), x));
}

template <class A>
inline Floats<A> packed_exp(const Floats<A>& x) {
  const Floats<A> one(1.0f);
  const auto e = Exponential<A>::reduced(limited(-104.0f, x, 89.0f));
  const Floats<A> steep = fused(e.r, Exponential<A>::curve(e.r), one);
  return scaled(fused(e.r, steep, one), e.power);
}

template <class A>
inline Floats<A> packed_log(const Floats<A>& x) {
  using F = Floats<A>;
  using Integers = xsimd::batch<std::int32_t, A>;
  constexpr float c[] = {0.333332241f, -0.249996886f, 0.200100645f, -0.166854963f,
                         0.140105322f, -0.121146984f, 0.139645636f, -0.131935045f};
  const auto small = x < F(std::numeric_limits<float>::min());
  const Integers bits = std::bit_cast<Integers>(F(xsimd::select(small, F(x * F(8388608.0f)), x)));
  // x = (1 + f) 2^n with 2/3 <= 1 + f < 4/3
  const Integers exponent = (bits - Integers(0x3f2aaaab)) >> 23;
  const F n = xsimd::to_float(exponent) - xsimd::select(small, F(23.0f), F(0.0f));
  const F f = std::bit_cast<F>(Integers(bits - (exponent << 23))) - F(1.0f);
  const F curve = F(f * f) * fused(f, polynomial(f, c), F(-0.5f));
  const F value = fused(n, F(0.693359375f), F(f + fused(n, F(-2.12194440e-4f), curve)));
  const F infinity(std::numeric_limits<float>::infinity());
  const F special = xsimd::select(x == F(0.0f), F(-infinity),
                                  xsimd::select(x == infinity, infinity, F(x - x) / F(0.0f)));
  return xsimd::select((x > F(0.0f)) & (x < infinity), value, special);
}

/// (e^(2|x|) - 1) / (e^(2|x|) + 1), with the sign of x.
template <class A>
inline Floats<A> packed_tanh(const Floats<A>& x) {
  using F = Floats<A>;
  const F size = xsimd::min(F(20.0f), xsimd::abs(x));
  const Exponential<A> e(F(size + size));
  const F power = scaled(F(1.0f), e.power);
  const F less_one = fused(e.fraction, power, F(power - F(1.0f)));
  const F two(2.0f);
  const Pair<A> above = ordered_sum(F(xsimd::max(less_one, two)), F(xsimd::min(less_one, two)));
  const Pair<A> ratio = product(quotient(1.0f, above), less_one);
  return xsimd::copysign(F(ratio.high + ratio.low), x);
}

template <class A>
inline Floats<A> packed_erf(const Floats<A>& x) {
  using F = Floats<A>;
  constexpr float inner[] = {0.128379166f,   -0.376126319f,    0.112836875f,  -0.0268589407f,
                             0.00519990642f, -0.000813001185f, 8.31677244e-5f};
  constexpr float outer[] = {-1.12845981f,    -0.636124969f,   -0.104098782f,
                             0.0211576428f,   -0.00172215793f, -0.000552463287f,
                             0.000228821475f, -3.60660815e-5f, 2.25903227e-6f};
  const F size = xsimd::min(F(4.0f), xsimd::abs(x));
  const F near = fused(polynomial(F(size * size), inner), size, size);
  const F far = F(1.0f) - Exponential<A>(F(size * polynomial(size, outer))).value();
  return xsimd::copysign(F(xsimd::select(size > F(0.921875f), far, near)), x);
}

}  // namespace moe::detail

namespace moe::inline MOE_ISA::kernel {

/// Functions of a register of floats. NaN stays NaN; zeros and infinities give the results of the
/// standard library. Errors are at most, in units in the last place: exp 0.91, log 0.91, tanh 1.74,
/// erf 1.11, and 2.1 without FMA.
/// Test: tests/backend/cpu_math.cpp; over all floats by ./dev nightly.
template <class A>
struct Math<xsimd::batch<float, A>> {
  using V = xsimd::batch<float, A>;
  static V exp(const V& x) { return detail::packed_exp<A>(x); }
  static V log(const V& x) { return detail::packed_log<A>(x); }
  static V sqrt(const V& x) { return xsimd::sqrt(x); }
  static V tanh(const V& x) { return detail::packed_tanh<A>(x); }
  static V erf(const V& x) { return detail::packed_erf<A>(x); }
};

}  // namespace moe::kernel
