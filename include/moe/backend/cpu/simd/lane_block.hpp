#pragma once
#include <moe/backend/cpu/simd/lanes.hpp>

namespace moe::inline MOE_ISA::detail {

/// N adjacent registers as one lane. A kernel that walks down the rows of its columns then reads N
/// consecutive registers of each row, which fill whole cache lines, rather than a single one.
template <class T, int N>
struct Several {
  Register<T> part[N];

  Several() = default;
  Several(const T& x) {
    for (Register<T>& p : part) p = Register<T>(x);
  }
  template <class F>
  static Several of(const F& f) {
    Several made;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) made.part[i] = f(i);
    return made;
  }
  friend Several operator+(const Several& a, const Several& b) {
    return of([&](int i) { return a.part[i] + b.part[i]; });
  }
  friend Several operator-(const Several& a, const Several& b) {
    return of([&](int i) { return a.part[i] - b.part[i]; });
  }
  friend Several operator*(const Several& a, const Several& b) {
    return of([&](int i) { return a.part[i] * b.part[i]; });
  }
  friend Several operator/(const Several& a, const Several& b) {
    return of([&](int i) { return a.part[i] / b.part[i]; });
  }
};

template <class S, class T, int N>
inline Several<T, N> load(const S* at, Lane<Several<T, N>> i) {
  return Several<T, N>::of(
      [&](int p) { return load(at, Lane<Register<T>>{i.index + p * batch_width<T>}); });
}
template <class S, class T, int N>
inline void store(S* at, Lane<Several<T, N>> i, const Several<T, N>& value) {
#pragma GCC unroll 8
  for (int p = 0; p < N; ++p)
    store(at, Lane<Register<T>>{i.index + p * batch_width<T>}, value.part[p]);
}
template <class T, int N, class F>
inline Several<T, N> generate(Lane<Several<T, N>> i, const F& f) {
  return Several<T, N>::of(
      [&](int p) { return generate(Lane<Register<T>>{i.index + p * batch_width<T>}, f); });
}

}  // namespace moe::inline MOE_ISA::detail
