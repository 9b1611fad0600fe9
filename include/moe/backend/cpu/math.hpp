#pragma once
#include <bit>
#include <cstdint>
#include <limits>
#include <moe/kernels/activation.hpp>
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined operands of its own AVX-512 intrinsics for a mistake (GCC PR105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <xsimd/xsimd.hpp>
#pragma GCC diagnostic pop
#else
#include <xsimd/xsimd.hpp>
#endif

// Elementary functions and activations of a register of floats, for any register width. The
// polynomials are minimax fits (Remez) of our own; sums of a large and a small part keep the small.

namespace moe::detail {

template <class A>
using Floats = xsimd::batch<float, A>;

/// a * b + c, rounded once where the machine can. xsimd 8 leaves the fusing of AVX-512 to the
/// compiler, and Clang does not fuse.
template <class T, class A>
inline xsimd::batch<T, A> fused(const xsimd::batch<T, A>& a, const xsimd::batch<T, A>& b,
                                const xsimd::batch<T, A>& c) {
#ifdef __AVX512F__
  if constexpr (sizeof(a) == 64 && sizeof(T) == 4) return _mm512_fmadd_ps(a, b, c);
  if constexpr (sizeof(a) == 64 && sizeof(T) == 8) return _mm512_fmadd_pd(a, b, c);
#endif
  return xsimd::fma(a, b, c);
}

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

/// A number to twice the precision, as a sum: |low| is at most half a last place of `high`.
template <class A>
struct Pair {
  Floats<A> high, low;
};
template <class A>
inline Pair<A> product(const Floats<A>& a, const Floats<A>& b) {
  const Floats<A> high = a * b;
  return {high, fused(a, b, -high)};
}
template <class A>
inline Pair<A> product(const Pair<A>& a, const Floats<A>& b) {
  const Pair<A> p = product(a.high, b);
  return {p.high, fused(a.low, b, p.low)};
}
template <class A>
inline Pair<A> product(const Pair<A>& a, const Pair<A>& b) {
  const Pair<A> p = product(a, b.high);
  return {p.high, fused(a.high, b.low, p.low)};
}
/// a + b for |a| >= |b|.
template <class A>
inline Pair<A> ordered_sum(const Floats<A>& a, const Floats<A>& b) {
  const Floats<A> high = a + b;
  return {high, b - (high - a)};
}
template <class A>
inline Pair<A> sum(const Floats<A>& a, const Floats<A>& b) {
  const Floats<A> high = a + b, b_part = high - a;
  return {high, (a - (high - b_part)) + (b - b_part)};
}
/// top / divisor, to more than one float.
template <class A>
inline Pair<A> quotient(float top, const Pair<A>& divisor) {
  const Floats<A> high = Floats<A>(top) / divisor.high;
  const Floats<A> rest = fused(-high, divisor.low, fused(-high, divisor.high, Floats<A>(top)));
  return {high, Floats<A>(rest * Floats<A>(1 / top)) * high};
}

/// e^(x + rest) = (1 + fraction) 2^power, |fraction| < 0.42, for |x| < 200 and a small rest.
template <class A>
struct Exponential {
  Floats<A> fraction, power;

  explicit Exponential(const Floats<A>& x) : Exponential(reduced(x)) {}
  Exponential(const Floats<A>& x, const Floats<A>& rest) : Exponential(reduced(x), rest) {}

  /// (1 + fraction) 2^power * a; the low part is not small.
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
  /// (e^r - 1 - r) / r^2.
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

/// x limited to [low, high]; NaN stays NaN.
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

/// (e^2|x| - 1) / (e^2|x| + 1) with the sign of x.
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

/// Value x s(z) and derivative s(z) (1 + y s(-z)) of an activation with the logistic function
/// s(z) = e^z / (1 + e^z), y = x z'; z <= 40.
template <class A>
inline kernel::Slope<Floats<A>> logistic(const Floats<A>& x, const Exponential<A>& e,
                                         const Pair<A>& y) {
  using F = Floats<A>;
  const F one(1.0f), power = e.value();
  const Pair<A> other =
      quotient(1.0f, ordered_sum(F(xsimd::max(power, one)), F(xsimd::min(power, one))));
  const Pair<A> bent = product(y, other), slope = sum(one, bent.high);
  return {e.times(product(other, x)),
          e.times(product(other, Pair<A>{slope.high, slope.low + bent.low}))};
}

template <class A>
inline kernel::Slope<Floats<A>> packed_silu(const Floats<A>& x) {
  using F = Floats<A>;
  const F z = limited(-110.0f, x, 40.0f);
  const auto s = logistic(z, Exponential<A>(z), Pair<A>{z, F(0.0f)});
  return {xsimd::select(x > F(40.0f), x, s.value), s.derivative};
}

template <class A>
inline kernel::Slope<Floats<A>> packed_gelu_tanh(const Floats<A>& x) {
  using F = Floats<A>;
  constexpr double a = 1.5957691216057307, b = 0.071354816272600249;  // sqrt(8/pi) (1, 0.044715)
  const auto pair = [](double c) { return Pair<A>{F(float(c)), F(float(c - double(float(c))))}; };
  const F t = limited(-11.0f, x, 7.0f);
  const Pair<A> square = product(t, t), cubic = product(pair(b), square);
  const Pair<A> steep = product(pair(3 * b), square);
  const auto add = [](const Pair<A>& p, const Pair<A>& q) {
    const Pair<A> s = sum(p.high, q.high);
    return Pair<A>{s.high, s.low + (p.low + q.low)};
  };
  const Pair<A> z = product(add(pair(a), cubic), t);
  const auto s = logistic(t, Exponential<A>(z.high, z.low), product(add(pair(a), steep), t));
  return {xsimd::select(x > F(7.0f), x, s.value), s.derivative};
}

/// Q(t) = 1 - Phi(t) = e^(-t^2 / 2) z w(1 - 2 z), z = 3.5 / (t + 3.5), w a polynomial, gives
/// x Phi(x) = max(x, 0) - t Q(t) with t = |x|, and Phi(x) + x phi(x) for x < 0 as Q(t) - t phi(t).
template <class A>
inline kernel::Slope<Floats<A>> packed_gelu(const Floats<A>& x) {
  using F = Floats<A>;
  constexpr float c[] = {0.0901214406f,    -0.0331580117f,   0.00497325091f,  0.00185517594f,
                         -0.000907231064f, -0.000141412253f, 0.000120541568f, 3.16250917e-5f};
  const F t = xsimd::min(F(15.0f), xsimd::abs(x)), k(3.5f);
  const Pair<A> square = product(t, t);
  const Exponential<A> e(F(square.high * F(-0.5f)), F(square.low * F(-0.5f)));
  const F divisor = t + k;
  const Pair<A> z = quotient(3.5f, Pair<A>{divisor, t - (divisor - k)});
  // The two leading terms of w are pairs: near t = 0 they are larger than w.
  const F v = fused(F(-2.0f), z.high, F(1.0f)), inner = polynomial(v, c);
  const F c1(-0.161589071f), c0(0.212690309f);
  const F p = fused(v, inner, c1), p_low = fused(v, inner, F(c1 - p)) + F(1.12583021e-9f);
  const F w = fused(v, p, c0), w_low = fused(v, p, F(c0 - w)) + F(-1.79305337e-9f);
  const Pair<A> mills = product(
      z, Pair<A>{w, fused(v, p_low, fused(F(F(-2.0f) * z.low), fused(v, inner, p), w_low))});
  const Pair<A> tail = e.parts(product(mills, t));
  const Pair<A> density = product(Pair<A>{F(0.398942292f), F(-1.13351701e-08f)}, t);
  const Pair<A> rest = sum(mills.high, F(-density.high));
  const F slope = e.times(Pair<A>{rest.high, rest.low + (mills.low - density.low)});
  return {F(xsimd::max(F(0.0f), x) - tail.high) - tail.low,
          xsimd::select(x < F(0.0f), slope, F(F(1.0f) - slope))};
}

}  // namespace moe::detail

namespace moe::kernel {

/// Functions of a register of floats. NaN stays NaN, zeros and infinities give what the standard
/// library gives. Bounds in units of the last place: exp 0.91, log 0.91, tanh 1.74, erf 1.11;
/// without a fused multiply-add 2.1.  Test: tests/backend/cpu_math.cpp, over all floats by ./dev
/// nightly.
template <class A>
struct Math<xsimd::batch<float, A>> {
  using V = xsimd::batch<float, A>;
  static V exp(const V& x) { return detail::packed_exp<A>(x); }
  static V log(const V& x) { return detail::packed_log<A>(x); }
  static V sqrt(const V& x) { return xsimd::sqrt(x); }
  static V tanh(const V& x) { return detail::packed_tanh<A>(x); }
  static V erf(const V& x) { return detail::packed_erf<A>(x); }
};

/// Activations of a register of floats, within 2 units of the last place. A slope crosses zero: its
/// error is in places of numbers of size max(|slope|, 1/4). Without a fused multiply-add values and
/// slopes keep 4 places, but far to the left values of GELU 70 and of its tanh form 130.
/// Test: tests/backend/cpu_math.cpp.
template <class A>
struct ActivationMath<xsimd::batch<float, A>> {
  using V = xsimd::batch<float, A>;
  template <class T>
  static Slope<V> gelu(const V& x) {
    return detail::packed_gelu<A>(x);
  }
  template <class T>
  static Slope<V> gelu_tanh(const V& x) {
    return detail::packed_gelu_tanh<A>(x);
  }
  template <class T>
  static Slope<V> silu(const V& x) {
    return detail::packed_silu<A>(x);
  }
};

}  // namespace moe::kernel
