#pragma once
#include <algorithm>
#include <moe/backend/cpu/gemm/pack.hpp>
#include <moe/backend/cpu/gemm/tiles.hpp>
#include <moe/backend/cpu/simd/rounded.hpp>
#include <type_traits>
#ifdef MOE_HAS_TILES
#include <immintrin.h>
#endif

// Packing for tiles. In a tile a pair of terms is one word of 32 bits, the earlier term below. A
// left tile has element (i, l) in row i, word l / 2; a right tile in row l / 2, word i. What lies
// outside of the operand is 0.

namespace moe::inline MOE_ISA::detail {

/// One tile of 16 rows x 16 words.
struct PackedTile {
  alignas(64) std::uint32_t word[tile_side][tile_side];
};

/// Whether a tile is packed as the left or the right factor.
enum class Side { left, right };

/// The bits of a number that is rounded to bfloat16.
inline std::uint32_t narrow_bits(bfloat16 x) {
  return x.bits;
}
inline std::uint32_t narrow_bits(const Rounded<float, bfloat16>& x) {
  return bfloat16(x.value).bits;
}

/// Packs the first `rows` x `steps` elements of x, at most 16 x 32, number by number.
struct PlainPacking {
  template <Side S, class E>
  static void pack(const Operand<E>& x, int rows, int steps, PackedTile& to) {
    to = {};
    for (int l = 0; l < steps; ++l) {
      const E* const from = x.step(l);
      for (int i = 0; i < rows; ++i) {
        const std::uint32_t bits = narrow_bits(from[(x.i_table ? x.i_table[i] : i) * x.i_stride]);
        std::uint32_t& word = S == Side::left ? to.word[i][l / 2] : to.word[l / 2][i];
        word |= l % 2 ? bits << 16 : bits;
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
  MOE_TARGET static void pack(const Operand<E>& x, int rows, int steps, PackedTile& to) {
    if (!x.along_l() && !x.along_i()) return PlainPacking::pack<S>(x, rows, steps, to);
    __m512i r[16];
    if (x.along_l()) {
      const __mmask32 inside = below(steps);
      for (int i = 0; i < tile_side; ++i)
        r[i] = i < rows ? terms(x.row(i), inside) : _mm512_setzero_si512();
    } else {
      const __mmask32 inside = below(rows);
      for (int p = 0; p < tile_side; ++p) {
        const __m256i earlier = 2 * p < steps ? numbers(x.step(2 * p), inside) : __m256i{};
        const __m256i later = 2 * p + 1 < steps ? numbers(x.step(2 * p + 1), inside) : __m256i{};
        r[p] = _mm512_or_si512(
            _mm512_maskz_cvtepu16_epi32(all, earlier),
            _mm512_maskz_slli_epi32(all, _mm512_maskz_cvtepu16_epi32(all, later), 16));
      }
    }
    // Registers along l are the rows of a left tile, registers along i those of a right one.
    if (x.along_l() != (S == Side::left)) transpose(r);
    for (int i = 0; i < tile_side; ++i) _mm512_store_si512(to.word[i], r[i]);
  }

 private:
  // Instructions with a mask, because g++ warns of those without one in its own header.
  static constexpr __mmask16 all = 0xFFFF;

  static __mmask32 below(int n) { return n >= 32 ? ~__mmask32(0) : (__mmask32(1) << n) - 1; }

  /// The 32 numbers of a row along l, in pairs; 0 where the mask is 0.
  MOE_TARGET static __m512i terms(const bfloat16* from, __mmask32 mask) {
    return _mm512_maskz_loadu_epi16(mask, from);
  }
  MOE_TARGET static __m512i terms(const Rounded<float, bfloat16>* from, __mmask32 mask) {
    const __m512 low = _mm512_maskz_loadu_ps(__mmask16(mask), from);
    const __m512 high = _mm512_maskz_loadu_ps(__mmask16(mask >> 16), from + 16);
    const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    return reinterpret_cast<const __m512i&>(both);
  }
  /// 16 numbers of a step along i.
  MOE_TARGET static __m256i numbers(const bfloat16* from, __mmask32 mask) {
    return _mm256_maskz_loadu_epi16(__mmask16(mask), from);
  }
  MOE_TARGET static __m256i numbers(const Rounded<float, bfloat16>* from, __mmask32 mask) {
    const __m256bh narrow = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(__mmask16(mask), from));
    return reinterpret_cast<const __m256i&>(narrow);
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
