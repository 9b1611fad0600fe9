#pragma once
#include <moe/backend/cpu/simd/elementary.hpp>
#include <moe/kernels/activation.hpp>

// Activations of a register of floats, for any register width.

namespace moe::inline MOE_ISA::detail {

/// For an activation of the form x s(z), with s(z) = e^z / (1 + e^z) the logistic function and z <=
/// 40: its value x s(z) and its derivative s(z) (1 + y s(-z)), where y = x dz/dx. `e` is e^z.
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

/// GELU from Q(t) = 1 - Phi(t), t = |x|:  x Phi(x) = max(x, 0) - t Q(t), and for x < 0 the
/// derivative Phi(x) + x phi(x) = Q(t) - t phi(t).
/// Q(t) is computed as e^(-t^2 / 2) z w(1 - 2 z) with z = 3.5 / (t + 3.5) and a polynomial w.
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
  // The two leading coefficients of w are double-floats: near t = 0 they are larger than w and
  // cancel.
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

namespace moe::inline MOE_ISA::kernel {

/// Activations of a register of floats. The error is at most 2 units in the last place (ulp).
/// Derivatives cross zero, so their error is measured in ulp of max(|derivative|, 1/4).
/// Without FMA the error is at most 4 ulp, except for the values of GELU (70 ulp) and its tanh form
/// (130 ulp) at large negative x.
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
