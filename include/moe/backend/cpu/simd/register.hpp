#pragma once
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns about the undefined operands of its own AVX-512 intrinsics (GCC PR105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <moe/core/isa.hpp>
#include <xsimd/xsimd.hpp>
#pragma GCC diagnostic pop
#else
#include <xsimd/xsimd.hpp>
#endif

namespace moe::inline MOE_ISA::detail {

template <class A>
using Floats = xsimd::batch<float, A>;

/// a * b + c, rounded once if the machine has FMA. With AVX-512, xsimd 8 leaves the contraction to
/// the compiler, and Clang does not contract; hence the intrinsics.
template <class T, class A>
inline xsimd::batch<T, A> fused(const xsimd::batch<T, A>& a, const xsimd::batch<T, A>& b,
                                const xsimd::batch<T, A>& c) {
#ifdef __AVX512F__
  if constexpr (sizeof(a) == 64 && sizeof(T) == 4) return _mm512_fmadd_ps(a, b, c);
  if constexpr (sizeof(a) == 64 && sizeof(T) == 8) return _mm512_fmadd_pd(a, b, c);
#endif
  return xsimd::fma(a, b, c);
}

}  // namespace moe::detail
