#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <moe/backend/cpu/gemm/pack.hpp>
#include <moe/backend/cpu/gemm/tiles.hpp>
#include <moe/backend/cpu/simd/rounded.hpp>
#include <type_traits>
#ifdef MOE_HAS_TILES
#include <immintrin.h>
#endif

// Packing for tiles. In a tile a pair of terms is one word of 32 bits, the earlier term below. A
// left tile has element (i, l) in row i, word l / 2; a right tile in row l / 2, word i. What lies
// outside of the operand is 0. A float is a sum of three bfloat16 numbers, and is packed as three
// tiles: one of the high parts, one of the middle ones, one of the low ones.

namespace moe::inline MOE_ISA::detail {

/// One tile of 16 rows x 16 words.
struct PackedTile {
  alignas(64) std::uint32_t word[tile_side][tile_side];
};

/// Whether a tile is packed as the left or the right factor.
enum class Side { left, right };

/// How many bfloat16 numbers stand for an element of type E in tiles.
template <class E>
inline constexpr int parts_of = std::is_same_v<E, float> ? 3 : 1;

/// The bits of the bfloat16 numbers whose sum is the element, the largest first.
inline std::array<std::uint32_t, 1> bf16_parts(bfloat16 x) {
  return {x.bits};
}
inline std::array<std::uint32_t, 1> bf16_parts(const Rounded<float, bfloat16>& x) {
  return {bfloat16(x.value).bits};
}
/// x = high + middle + low. high is x rounded to bfloat16, or cut off if rounding makes it
/// infinite; middle is what is left, rounded; low is the rest. For |x| >= 2^-103 that has at most 8
/// bits, and the sum is exact. The middle and low parts of infinities and NaN are 0.
inline std::array<std::uint32_t, 3> bf16_parts(float x) {
  bfloat16 high = x;
  if (!std::isfinite(x)) return {high.bits, 0, 0};
  const auto upper = [](float y) {
    return std::uint16_t(__builtin_bit_cast(std::uint32_t, y) >> 16);
  };
  if (std::isinf(float(high))) high.bits = upper(x);
  const float rest = x - high;
  const bfloat16 middle = rest;
  return {high.bits, middle.bits, upper(rest - middle)};
}

/// Packs the first `rows` x `steps` elements of x, at most 16 x 32, number by number, into one tile
/// for each part.
struct PlainPacking {
  template <Side S, class E>
  static void pack(const Operand<E>& x, int rows, int steps, PackedTile* to) {
    std::fill_n(to, parts_of<E>, PackedTile{});
    for (int l = 0; l < steps; ++l) {
      const E* const from = x.step(l);
      for (int i = 0; i < rows; ++i) {
        PackedTile* tile = to;
        for (const std::uint32_t bits :
             bf16_parts(from[(x.i_table ? x.i_table[i] : i) * x.i_stride])) {
          std::uint32_t& word = S == Side::left ? tile->word[i][l / 2] : tile->word[l / 2][i];
          word |= l % 2 ? bits << 16 : bits;
          ++tile;
        }
      }
    }
  }
};

#ifdef MOE_HAS_TILES
#define MOE_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
/// The same with AVX-512, which every processor with tiles has. Operands that are contiguous along
/// neither index go number by number.
struct WidePacking {
  template <Side S, class E>
  MOE_TARGET static void pack(const Operand<E>& x, int rows, int steps, PackedTile* to) {
    if (!x.along_l() && !x.along_i()) return PlainPacking::pack<S>(x, rows, steps, to);
    constexpr int parts = parts_of<E>;
    const __mmask32 inside = below(x.along_l() ? steps : rows);
    __m512i rows_of[parts][tile_side];
    for (int r = 0; r < tile_side; ++r) {
      Words<parts> words{};
      if (x.along_l()) {
        if (r < rows) words = terms(x.row(r), inside);
      } else {
        if (2 * r < steps) words = numbers(x.step(2 * r), inside);
        if (2 * r + 1 < steps) words = paired(words, numbers(x.step(2 * r + 1), inside));
      }
      for (int p = 0; p < parts; ++p) rows_of[p][r] = words.part[p];
    }
    for (int p = 0; p < parts; ++p) {
      // Words along l are the rows of a left tile, words along i those of a right one.
      if (x.along_l() != (S == Side::left)) transpose(rows_of[p]);
      for (int r = 0; r < tile_side; ++r) _mm512_store_si512(to[p].word[r], rows_of[p][r]);
    }
  }

 private:
  // Instructions with a mask, because g++ warns of those without one in its own header.
  static constexpr __mmask16 all = 0xFFFF;

  static __mmask32 below(int n) { return n >= 32 ? ~__mmask32(0) : (__mmask32(1) << n) - 1; }

  /// A row of the tile of each part.
  template <int Parts>
  struct Words {
    __m512i part[Parts];
  };

  /// The 32 numbers of a row along l, in pairs; 0 where the mask is 0.
  MOE_TARGET static Words<1> terms(const bfloat16* from, __mmask32 mask) {
    return {{_mm512_maskz_loadu_epi16(mask, from)}};
  }
  MOE_TARGET static Words<1> terms(const Rounded<float, bfloat16>* from, __mmask32 mask) {
    const __m512 low = _mm512_maskz_loadu_ps(__mmask16(mask), from);
    const __m512 high = _mm512_maskz_loadu_ps(__mmask16(mask >> 16), from + 16);
    const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    return {{reinterpret_cast<const __m512i&>(both)}};
  }
  MOE_TARGET static Words<3> terms(const float* from, __mmask32 mask) {
    const __m512 low = _mm512_maskz_loadu_ps(__mmask16(mask), from);
    const __m512 high = _mm512_maskz_loadu_ps(__mmask16(mask >> 16), from + 16);
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    return paired(split(_mm512_permutex2var_ps(low, even, high)),
                  split(_mm512_permutex2var_ps(low, odd, high)));
  }
  /// 16 numbers of a step along i, each in the lower half of a word.
  MOE_TARGET static Words<1> numbers(const bfloat16* from, __mmask32 mask) {
    return {{_mm512_maskz_cvtepu16_epi32(all, _mm256_maskz_loadu_epi16(__mmask16(mask), from))}};
  }
  MOE_TARGET static Words<1> numbers(const Rounded<float, bfloat16>* from, __mmask32 mask) {
    const __m256bh narrow = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(__mmask16(mask), from));
    return {{_mm512_maskz_cvtepu16_epi32(all, reinterpret_cast<const __m256i&>(narrow))}};
  }
  MOE_TARGET static Words<3> numbers(const float* from, __mmask32 mask) {
    return split(_mm512_maskz_loadu_ps(__mmask16(mask), from));
  }
  /// The parts of 16 floats, each in the lower half of a word.
  MOE_TARGET static Words<3> split(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x), upper = _mm512_set1_epi32(int(0xFFFF0000u)),
                  size = _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF));
    const __mmask16 cut = _mm512_cmpge_epu32_mask(size, _mm512_set1_epi32(0x7F7F8000)),
                    nan = _mm512_cmpgt_epu32_mask(size, _mm512_set1_epi32(0x7F800000)),
                    finite = _mm512_cmplt_epu32_mask(size, _mm512_set1_epi32(0x7F800000));
    __m512i high = _mm512_mask_and_epi32(rounded(bits), cut, bits, upper);
    high = _mm512_mask_or_epi32(high, nan, high, _mm512_set1_epi32(0x00400000));
    const __m512 rest = _mm512_maskz_sub_ps(finite, x, _mm512_castsi512_ps(high));
    const __m512i middle = rounded(_mm512_castps_si512(rest));
    const __m512 low = _mm512_sub_ps(rest, _mm512_castsi512_ps(middle));
    return {{_mm512_maskz_srli_epi32(all, high, 16), _mm512_maskz_srli_epi32(all, middle, 16),
             _mm512_maskz_srli_epi32(all, _mm512_castps_si512(low), 16)}};
  }
  /// The bits of finite floats, rounded to bfloat16 as that type does.
  MOE_TARGET static __m512i rounded(__m512i bits) {
    const __m512i odd =
        _mm512_and_si512(_mm512_maskz_srli_epi32(all, bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    return _mm512_and_si512(up, _mm512_set1_epi32(int(0xFFFF0000u)));
  }
  /// Puts the numbers of the later step into the upper halves of the words.
  template <int Parts>
  MOE_TARGET static Words<Parts> paired(Words<Parts> earlier, const Words<Parts>& later) {
    for (int p = 0; p < Parts; ++p)
      earlier.part[p] =
          _mm512_or_si512(earlier.part[p], _mm512_maskz_slli_epi32(all, later.part[p], 16));
    return earlier;
  }
  /// Exchanges rows and columns of 16 x 16 words: blocks of 1, 2, 4 and 8.
  MOE_TARGET static void transpose(__m512i (&r)[16]) {
    __m512i s[16];
    for (int i = 0; i < 16; i += 2) {
      s[i] = _mm512_maskz_unpacklo_epi32(all, r[i], r[i + 1]);
      s[i + 1] = _mm512_maskz_unpackhi_epi32(all, r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
      for (int j = 0; j < 2; ++j) {
        r[i + 2 * j] = _mm512_maskz_unpacklo_epi64(__mmask8(all), s[i + j], s[i + j + 2]);
        r[i + 2 * j + 1] = _mm512_maskz_unpackhi_epi64(__mmask8(all), s[i + j], s[i + j + 2]);
      }
    // r[4 q + j] now has, in its quarter c, the words of column 4 c + j of rows 4 q ... 4 q + 3.
    for (int i = 0; i < 16; i += 8)
      for (int j = 0; j < 4; ++j) {
        s[i + j] = _mm512_maskz_shuffle_i32x4(all, r[i + j], r[i + j + 4], 0x88);
        s[i + j + 4] = _mm512_maskz_shuffle_i32x4(all, r[i + j], r[i + j + 4], 0xDD);
      }
    for (int j = 0; j < 4; ++j) {
      r[j] = _mm512_maskz_shuffle_i32x4(all, s[j], s[j + 8], 0x88);
      r[j + 8] = _mm512_maskz_shuffle_i32x4(all, s[j], s[j + 8], 0xDD);
      r[j + 4] = _mm512_maskz_shuffle_i32x4(all, s[j + 4], s[j + 12], 0x88);
      r[j + 12] = _mm512_maskz_shuffle_i32x4(all, s[j + 4], s[j + 12], 0xDD);
    }
  }
};
#undef MOE_TARGET
#endif

}  // namespace moe::detail
