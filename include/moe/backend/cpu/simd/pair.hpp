#pragma once
#include <moe/backend/cpu/simd/register.hpp>

// Double-float arithmetic (high + low): sums and products of registers that keep the digits one
// float would round off.

namespace moe::inline MOE_ISA::detail {

/// A number in twice the precision, as the sum high + low: |low| is at most half a unit in the last
/// place of `high`.
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
/// a + b, for |a| >= |b| only.
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
/// top / divisor, more precise than one float.
template <class A>
inline Pair<A> quotient(float top, const Pair<A>& divisor) {
  const Floats<A> high = Floats<A>(top) / divisor.high;
  const Floats<A> rest = fused(-high, divisor.low, fused(-high, divisor.high, Floats<A>(top)));
  return {high, Floats<A>(rest * Floats<A>(1 / top)) * high};
}

}  // namespace moe::detail
