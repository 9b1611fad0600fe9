#pragma once
#include <moe/backend/cpu/simd/lanes.hpp>

namespace moe::inline MOE_ISA::detail {

/// N adjacent registers as one lane. A kernel that walks down the rows of its columns then reads N
/// consecutive registers of each row, which fill whole cache lines, rather than a single one.
template <class T, int N>
struct LaneBlock {
  Register<T> part[N];

  LaneBlock() = default;
  LaneBlock(const T& x) {
    for (Register<T>& p : part) p = Register<T>(x);
  }
  template <class F>
  static LaneBlock of(const F& f) {
    LaneBlock made;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) made.part[i] = f(i);
    return made;
  }
  friend LaneBlock operator+(const LaneBlock& a, const LaneBlock& b) {
    return of([&](int i) { return a.part[i] + b.part[i]; });
  }
  friend LaneBlock operator-(const LaneBlock& a, const LaneBlock& b) {
    return of([&](int i) { return a.part[i] - b.part[i]; });
  }
  friend LaneBlock operator*(const LaneBlock& a, const LaneBlock& b) {
    return of([&](int i) { return a.part[i] * b.part[i]; });
  }
  friend LaneBlock operator/(const LaneBlock& a, const LaneBlock& b) {
    return of([&](int i) { return a.part[i] / b.part[i]; });
  }
};

template <class S, class T, int N>
inline LaneBlock<T, N> load(const S* at, Lane<LaneBlock<T, N>> i) {
  return LaneBlock<T, N>::of(
      [&](int p) { return load(at, Lane<Register<T>>{i.index + p * batch_width<T>}); });
}
template <class S, class T, int N>
inline void store(S* at, Lane<LaneBlock<T, N>> i, const LaneBlock<T, N>& value) {
#pragma GCC unroll 8
  for (int p = 0; p < N; ++p)
    store(at, Lane<Register<T>>{i.index + p * batch_width<T>}, value.part[p]);
}
template <class T, int N, class F>
inline LaneBlock<T, N> generate(Lane<LaneBlock<T, N>> i, const F& f) {
  return LaneBlock<T, N>::of(
      [&](int p) { return generate(Lane<Register<T>>{i.index + p * batch_width<T>}, f); });
}

}  // namespace moe::detail
