#pragma once
#include <cstring>
#include <moe/backend/cpu/gemm/micro_kernel.hpp>
#include <moe/backend/cpu/simd/rounded.hpp>

// Products of bfloat16 matrices with the dot product of pairs of AVX512-BF16 (vdpbf16ps). The
// instruction adds the product of the upper 16-bit halves to a float sum, rounds, then adds the
// product of the lower halves. Packing puts the earlier term of a pair into the upper half, so sums
// have the order, and thus the bits, of the path that widens to float. The only difference: the
// instruction treats subnormal numbers as 0.

namespace moe::inline MOE_ISA::detail {

#ifdef __AVX512BF16__
/// Packs two terms of a sum into the bits of one float. Both are already rounded to bfloat16, so
/// their lower bits are 0.
inline Register<float> paired(const Register<float>& earlier, const Register<float>& later) {
  const __m512i lower = _mm512_srli_epi32(_mm512_castps_si512(later), 16);
  return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(earlier), lower));
}
inline float paired(float earlier, float later) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, earlier) |
                                       __builtin_bit_cast(std::uint32_t, later) >> 16);
}

/// Two adjacent elements in memory, read as one packed pair.
template <class S>
struct Neighbours {
  S earlier, later;
  explicit operator float() const {
    if constexpr (std::is_same_v<S, bfloat16>)
      return __builtin_bit_cast(float, std::uint32_t(earlier.bits) << 16 | later.bits);
    else
      return paired(float(earlier), float(later));
  }
};
inline Register<float> load(const Neighbours<bfloat16>* at, Lane<Register<float>> i) {
  return _mm512_castsi512_ps(_mm512_rol_epi32(_mm512_loadu_si512(at + i.index), 16));
}
inline Register<float> load(const Neighbours<Rounded<float, bfloat16>>* at,
                            Lane<Register<float>> i) {
  const float* const from = &at[i.index].earlier.value;
  const __m512bh all = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from));
  return _mm512_castsi512_ps(_mm512_rol_epi32(reinterpret_cast<const __m512i&>(all), 16));
}

inline __mmask16 lanes_below(int n) {
  return n >= 16 ? __mmask16(0xFFFF) : n <= 0 ? __mmask16(0) : __mmask16((1u << n) - 1);
}
/// Loads 16 elements, 0 where the mask is 0.
inline Register<float> load_some(const bfloat16* from, __mmask16 mask) {
  const __m256i bits = _mm256_maskz_loadu_epi16(mask, from);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Register<float> load_some(const float* from, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}
inline void store_some(float* to, __mmask16 mask, const Register<float>& value) {
  _mm512_mask_storeu_ps(to, mask, value);
}
inline void store_some(bfloat16* to, __mmask16 mask, const Register<float>& value) {
  const __m256bh narrow = _mm512_cvtneps_pbh(value);
  _mm256_mask_storeu_epi16(to, mask, reinterpret_cast<const __m256i&>(narrow));
}
inline Register<float> load_some(const Rounded<float, bfloat16>* from, __mmask16 mask) {
  const __m256bh narrow = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, &from->value));
  const __m256i bits = reinterpret_cast<const __m256i&>(narrow);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

/// Two registers, rounded to bfloat16, in both forms of packed pairs. `pairs`: lane i of the first
/// and of the second. store_rows writes the pairs of adjacent lanes, first those of the first.
struct RoundedPairs {
  Register<float> pairs;

  RoundedPairs(const Register<float>& first, const Register<float>& second) {
    const __m512bh narrow = _mm512_cvtne2ps_pbh(second, first);
    const __m512i all = reinterpret_cast<const __m512i&>(narrow);
    adjacent_ = _mm512_rol_epi32(all, 16);
    pairs = _mm512_castsi512_ps(_mm512_permutexvar_epi16(interleaved(), all));
  }
  void store_rows(float* to, std::ptrdiff_t row) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(adjacent_));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + row),
                        _mm512_extracti64x4_epi64(adjacent_, 1));
  }

 private:
  __m512i adjacent_;

  /// Number 2i comes from lane i of the second register, number 2i + 1 from the first.
  static __m512i interleaved() {
    alignas(64) static constexpr auto place = [] {
      struct {
        std::uint16_t of[32];
      } made{};
      for (int i = 0; i < 16; ++i) {
        made.of[2 * i] = std::uint16_t(16 + i);
        made.of[2 * i + 1] = std::uint16_t(i);
      }
      return made;
    }();
    return _mm512_load_si512(&place);
  }
};

/// The kernel for bfloat16 pairs; see Widened.
struct Dot {
  struct Session {};
  static constexpr int terms = 2;

  template <int Width, class T, class S>
  static void pack(const Operand<S>& x, int rows, int steps, T* to) {
    const std::ptrdiff_t panel = panel_step<Width>((steps + 1) / 2);
    if (x.along_l()) {
      for (int i = 0; i < rows; i += Width, to += panel)
        pack_rows<Width>(x.from(i, 0), rows - i < Width ? rows - i : Width, steps, to);
      return;
    }
    for (int l = 0; l < steps; l += 2) {
      const bool both = l + 1 < steps;
      const S *const earlier = x.step(l), *const later = both ? x.step(l + 1) : earlier;
      T* at = to + l / 2 * Width;
      for (int first = 0; first < rows; first += Width, at += panel) {
        if (x.along_i()) {
          for (int i = 0; i < Width; i += 16) {
            const __mmask16 mask = lanes_below(rows - first - i);
            const Register<float> pairs =
                paired(load_some(earlier + first + i, mask),
                       load_some(later + first + i, both ? mask : __mmask16(0)));
            _mm512_mask_storeu_ps(at + i, lanes_below(Width - i), pairs);
          }
        } else {
          for (int i = 0; i < Width; ++i) {
            if (first + i >= rows) {
              at[i] = 0;
              continue;
            }
            const std::ptrdiff_t place =
                (x.i_table ? x.i_table[first + i] : first + i) * x.i_stride;
            at[i] = paired(float(earlier[place]), both ? float(later[place]) : 0.0f);
          }
        }
      }
    }
  }

  /// multiply_tile for a part of a tile, of k pairs.
  template <class T, int R, int V, int RowStep, class C>
  static void tile(int rows, int cols, int k, const T* a, std::ptrdiff_t a_step, const T* b,
                   std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc, const Epilogue<T>& o) {
    using Pack = Register<float>;
    constexpr int width = Tile<float>::width;
    Pack sum[R * V];
    unroll<R * V>([&](auto i) __attribute__((always_inline)) { sum[i] = Pack(0.0f); });
    const auto step = [&]() __attribute__((always_inline)) {
      Pack right[V];
      unroll<V>([&](auto j) __attribute__((always_inline)) {
        right[j] = Pack::load_unaligned(b + j * width);
      });
      unroll<R>([&](auto i) __attribute__((always_inline)) {
        const Pack left(a[i * RowStep]);
        unroll<V>([&](auto j) __attribute__((always_inline)) {
          sum[i * V + j] = _mm512_dpbf16_ps(sum[i * V + j], as_pairs(left), as_pairs(right[j]));
        });
      });
      a += a_step;
      b += b_step;
    };
    int l = 0;
    if (k >= 4 * Prefetcher::slices) {
      for (int slice = 0; slice < Prefetcher::slices; ++slice) {
        for (int i = slice; i < rows; i += Prefetcher::slices)
          for (int j = 0; j < cols; j += width) __builtin_prefetch(c + i * ldc + j, 1);
        for (Prefetcher* ahead : o.ahead)
          if (ahead) ahead->ask();
        for (const int end = l + k / Prefetcher::slices; l < end; ++l) step();
      }
    }
    for (; l < k; ++l) step();
    unroll<R * V>([&](auto i) __attribute__((always_inline)) {
      constexpr int row = i / V, col = i % V * width;
      if (row >= rows) return;
      const __mmask16 mask = lanes_below(cols - col);
      C* const at = c + row * ldc + col;
      const Pack bias = o.bias ? load_some(o.bias + col, mask) : Pack(0.0f);
      Pack value = o.scaled(sum[i], bias);
      if (o.beta != 0) value = o.added(value, load_some(at, mask));
      store_some(at, mask, value);
    });
  }

  /// As Widened::few, with pairs of terms. A lone last term has 0 as its partner.
  template <class T, int R, class A, class B>
  static void few(const Operand<A>& a, const Strip<B>& b, Register<float>* sum) {
    constexpr int width = 16;
    const A* row[R];
    for (int r = 0; r < R; ++r) row[r] = a.row(r);
    const auto add = [&](int r, float left, const Register<float>& column)
        __attribute__((always_inline)) {
      sum[r] = _mm512_dpbf16_ps(sum[r], as_pairs(Register<float>(left)), as_pairs(column));
    };
    int s = 0;
    for (; s + 2 * width <= b.steps; s += 2 * width) {
      Register<float>::register_type column[width];
      load_columns_at<float, Neighbours<B>>(b, s, column);
      unroll<width>([&](auto i) __attribute__((always_inline)) {
        unroll<R>([&](auto r) __attribute__((always_inline)) {
          add(r, float(*reinterpret_cast<const Neighbours<A>*>(row[r] + s + 2 * i)), column[i]);
        });
      });
    }
    for (; s < b.steps; s += 2) {
      const bool both = s + 1 < b.steps;
      float column[width];
      for (int i = 0; i < width; ++i) {
        const B* const at = b.data + s + b.row_at[i];
        column[i] = paired(float(at[0]), both ? float(at[1]) : 0.0f);
      }
      for (int r = 0; r < R; ++r)
        add(r, paired(float(row[r][s]), both ? float(row[r][s + 1]) : 0.0f),
            Register<float>::load_unaligned(column));
    }
  }

 private:
  template <class S>
  struct PairRows {
    const Operand<S>& x;
    const Neighbours<S>* row(int i) const {
      return reinterpret_cast<const Neighbours<S>*>(x.row(i));
    }
  };

  template <int Width, class S>
  static void pack_rows(const Operand<S>& x, int rows, int steps, float* to) {
    pack_transposed<Width, float>(PairRows<S>{x}, rows, steps / 2, to);
    if (steps % 2)
      for (int i = 0; i < Width; ++i)
        to[steps / 2 * Width + i] = i < rows ? float(x.row(i)[steps - 1]) : 0.0f;
  }
  static __m512bh as_pairs(const Register<float>& bits) {
    const __m512 all = bits;
    return reinterpret_cast<const __m512bh&>(all);
  }
};
#endif

}  // namespace moe::detail
