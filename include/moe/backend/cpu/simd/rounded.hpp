#pragma once
#include <moe/backend/cpu/simd/lanes.hpp>
#include <moe/core/bfloat16.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA::detail {

/// An element of type T in memory that is rounded to S when it is read. It lets products read the
/// weights of a backend with narrow activations, whose master copy stays in T.
template <class T, class S>
struct Rounded {
  T value;
  explicit operator T() const { return T(S(value)); }
};

/// The numbers of a register, rounded to S.
template <class S, class T, class A>
inline xsimd::batch<T, A> rounded(const xsimd::batch<T, A>& value) {
  if constexpr (std::is_same_v<S, T>) return value;
  constexpr Lane<xsimd::batch<T, A>> here{0};
  S narrow[xsimd::batch<T, A>::size];
  store(narrow, here, value);
  return load(static_cast<const S*>(narrow), here);
}

template <class T, class S, class A>
inline xsimd::batch<T, A> load(const Rounded<T, S>* at, Lane<xsimd::batch<T, A>> i) {
  return rounded<S>(xsimd::batch<T, A>::load_unaligned(&at[i.index].value));
}

}  // namespace moe::detail
