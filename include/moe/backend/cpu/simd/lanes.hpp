#pragma once
#include <cstring>
#include <moe/backend/cpu/simd/register.hpp>
#include <moe/core/bfloat16.hpp>

// Lanes on the CPU: a SIMD register of xsimd, or one number in the tail of a row.

namespace moe::inline MOE_ISA {

template <class T, class A>
inline xsimd::batch<T, A> load(const T* at, Lane<xsimd::batch<T, A>> i) {
  return xsimd::batch<T, A>::load_unaligned(at + i.index);
}
template <class T, class A>
inline void store(T* at, Lane<xsimd::batch<T, A>> i, const xsimd::batch<T, A>& value) {
  value.store_unaligned(at + i.index);
}

/// bfloat16 is loaded as float and rounded when stored. With AVX512-BF16 the store flushes
/// subnormals to 0.
template <class A>
inline xsimd::batch<float, A> load(const bfloat16* at, Lane<xsimd::batch<float, A>> i) {
  constexpr int width = int(xsimd::batch<float, A>::size);
#ifdef __AVX512F__
  if constexpr (width == 16) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i.index));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
#endif
#ifdef __AVX2__
  if constexpr (width == 8) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i.index));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
#endif
  float value[width];
  for (int l = 0; l < width; ++l) value[l] = at[i.index + l];
  return xsimd::batch<float, A>::load_unaligned(value);
}
template <class A>
inline void store(bfloat16* at, Lane<xsimd::batch<float, A>> i,
                  const xsimd::batch<float, A>& value) {
  constexpr int width = int(xsimd::batch<float, A>::size);
#ifdef __AVX512BF16__
  if constexpr (width == 16) {
    const __m256bh bits = _mm512_cvtneps_pbh(value);
    std::memcpy(static_cast<void*>(at + i.index), &bits, sizeof bits);
    return;
  }
#endif
#ifdef __AVX512F__
  if constexpr (width == 16) {
    const __m512i all = _mm512_castps_si512(value), upper = _mm512_srli_epi32(all, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(all, _mm512_set1_epi32(0x7FFF)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    const __m512i bits =
        _mm512_mask_or_epi32(_mm512_srli_epi32(up, 16), nan, upper, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + i.index), _mm512_cvtepi32_epi16(bits));
    return;
  }
#endif
#ifdef __AVX2__
  if constexpr (width == 8) {
    const __m256 x = value;
    const __m256i all = _mm256_castps_si256(x), upper = _mm256_srli_epi32(all, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(all, _mm256_set1_epi32(0x7FFF)), odd);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i bits = _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), quiet, nan);
    const __m256i narrow = _mm256_permute4x64_epi64(_mm256_packus_epi32(bits, bits), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at + i.index), _mm256_castsi256_si128(narrow));
    return;
  }
#endif
  float wide[width];
  value.store_unaligned(wide);
  for (int l = 0; l < width; ++l) at[i.index + l] = wide[l];
}

template <class T, class A, class F>
inline xsimd::batch<T, A> generate(Lane<xsimd::batch<T, A>> i, const F& f) {
  constexpr int width = int(xsimd::batch<T, A>::size);
  T value[width];
  for (int l = 0; l < width; ++l) value[l] = T(f(i.index + l));
  return xsimd::batch<T, A>::load_unaligned(value);
}

namespace detail {

template <class T>
using Register = xsimd::batch<T>;
template <class T>
inline constexpr int batch_width = int(Register<T>::size);

/// a * b + c, rounded once if the machine has FMA.
template <class T>
inline Register<T> multiply_add(const Register<T>& a, const Register<T>& b, const Register<T>& c) {
  return fused(a, b, c);
}

/// The sum of the elements of a register, always in the same order.
template <class T>
inline T horizontal_sum(const Register<T>& batch) {
  T value[batch_width<T>];
  batch.store_unaligned(value);
  for (int step = batch_width<T> / 2; step > 0; step /= 2)
    for (int l = 0; l < step; ++l) value[l] += value[l + step];
  return value[0];
}

/// The group of a CPU: one core processes one row, first in whole registers, then the tail number
/// by number. The order of a sum depends only on the length of the row.
template <class T>
struct SimdGroup {
  static constexpr int width = batch_width<T>;
  using Pack = Lane<Register<T>>;

  template <class F>
  void for_each(int n, const F& f) const {
    int i = 0;
    for (; i + width <= n; i += width) f(Pack{i});
    for (; i < n; ++i) f(Lane<T>{i});
  }

  template <class F>
  void for_each_index(int n, const F& f) const {
    for (int i = 0; i < n; ++i) f(i);
  }

  template <class F>
  void once(const F& f) const {
    f();
  }

  template <class F>
  T sum(int n, const F& f) const {
    T total(0);
    int i = 0;
    if (n >= width) {
      Register<T> part[4] = {Register<T>(T(0)), Register<T>(T(0)), Register<T>(T(0)),
                             Register<T>(T(0))};
      for (; i + 4 * width <= n; i += 4 * width) {
        part[0] += f(Pack{i});
        part[1] += f(Pack{i + width});
        part[2] += f(Pack{i + 2 * width});
        part[3] += f(Pack{i + 3 * width});
      }
      for (; i + width <= n; i += width) part[0] += f(Pack{i});
      total = horizontal_sum<T>((part[0] + part[1]) + (part[2] + part[3]));
    }
    for (; i < n; ++i) total += f(Lane<T>{i});
    return total;
  }

  template <class F>
  double total(int n, const F& f) const {
    return serial_total(n, f);
  }

  template <class F>
  T max(int n, const F& f) const {
    int i = 0;
    T max;
    if (n >= width) {
      Register<T> largest = f(Pack{0});
      for (i = width; i + width <= n; i += width)
        largest = xsimd::max(largest, Register<T>(f(Pack{i})));
      T value[width];
      largest.store_unaligned(value);
      max = value[0];
      for (int l = 1; l < width; ++l) max = max < value[l] ? value[l] : max;
    } else {
      max = f(Lane<T>{0});
      i = 1;
    }
    for (; i < n; ++i) {
      const T value = f(Lane<T>{i});
      max = max < value ? value : max;
    }
    return max;
  }
};

}  // namespace detail
}  // namespace moe
