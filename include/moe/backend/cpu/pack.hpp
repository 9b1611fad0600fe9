#pragma once
#include <cstddef>
#include <cstring>
#include <moe/backend/cpu/lanes.hpp>
#include <utility>

namespace moe::detail {

/// A matrix operand as the micro-kernel reads it: number (i, l), i along the tile and l along the
/// sum, lies at data[i * i_stride + l * l_stride]; either index may go through a table.
template <class T>
struct Operand {
  const T* data;
  std::ptrdiff_t i_stride, l_stride;
  const int* i_table = nullptr;
  const int* l_table = nullptr;

  const T* row(int i) const { return data + (i_table ? i_table[i] : i) * i_stride; }
  const T* step(int l) const { return data + (l_table ? l_table[l] : l) * l_stride; }
  Operand from(int i, int l) const {
    Operand to = *this;
    if (i_table) to.i_table += i;
    if (l_table) to.l_table += l;
    to.data += (i_table ? 0 : i * i_stride) + (l_table ? 0 : l * l_stride);
    return to;
  }
};

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MOE_HAS_SHUFFLE 1
#endif
#endif

#ifdef MOE_HAS_SHUFFLE
#undef MOE_HAS_SHUFFLE
/// Exchanges the off-diagonal blocks of size S of the registers a (row i) and b (row i + S).
template <int S, class Register, int... L>
[[gnu::always_inline]] inline void exchange(Register& a, Register& b,
                                            std::integer_sequence<int, L...>) {
  constexpr int width = sizeof...(L);
  const Register upper = __builtin_shufflevector(a, b, ((L & S) ? width + L - S : L)...);
  b = __builtin_shufflevector(a, b, ((L & S) ? width + L : L + S)...);
  a = upper;
}
template <int S, class Register, int W>
[[gnu::always_inline]] inline void transpose_from(Register (&r)[W]) {
  if constexpr (S < W) {
    constexpr auto lanes = std::make_integer_sequence<int, W>{};
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i)
      if (!(i & S)) exchange<S>(r[i], r[i + S], lanes);
    transpose_from<2 * S>(r);
  }
}
/// to[l * to_step + i] = from[i][l] for a square of one register's width.
template <class T>
inline void transpose_square(const T* const* from, std::ptrdiff_t at, T* to,
                             std::ptrdiff_t to_step) {
  constexpr int width = batch_width<T>;
  typename Batch<T>::register_type r[width];
#pragma GCC unroll 16
  for (int i = 0; i < width; ++i) r[i] = Batch<T>::load_unaligned(from[i] + at);
  transpose_from<1>(r);
#pragma GCC unroll 16
  for (int l = 0; l < width; ++l) Batch<T>(r[l]).store_unaligned(to + l * to_step);
}
#else
template <class T>
inline void transpose_square(const T* const* from, std::ptrdiff_t at, T* to,
                             std::ptrdiff_t to_step) {
  constexpr int width = batch_width<T>;
  for (int l = 0; l < width; ++l)
    for (int i = 0; i < width; ++i) to[l * to_step + i] = from[i][at + l];
}
#endif

/// Numbers that may be written past the end of a packed panel.
template <class T>
inline constexpr int pack_slack = batch_width<T>;

/// to[l * Width + i] = x(i, l) for i < rows, 0 for rows <= i < Width, and l < steps: a panel the
/// micro-kernel reads straight through. Rows that are contiguous along l are transposed in
/// registers; a last partial register spills over into the next step, which is written later.
template <int Width, class T>
inline void pack_panel(const Operand<T>& x, int rows, int steps, T* to) {
  constexpr int width = batch_width<T>;
  constexpr int chunks = (Width + width - 1) / width;
  if (x.l_stride == 1 && !x.l_table) {
    static constexpr T nothing[width] = {};
    const int whole = steps - steps % width;
    for (int chunk = chunks - 1; chunk >= 0; --chunk) {
      const int first = chunk * width;
      const int count = Width - first < width ? Width - first : width;
      const T* from[width];
      std::ptrdiff_t advance[width];
      for (int i = 0; i < width; ++i) {
        const bool inside = i < count && first + i < rows;
        from[i] = inside ? x.row(first + i) : nothing;
        advance[i] = inside ? width : 0;
      }
      for (int l = 0; l < whole; l += width) {
        transpose_square(from, 0, to + l * Width + first, Width);
        for (int i = 0; i < width; ++i) from[i] += advance[i];
      }
      for (int l = whole; l < steps; ++l)
        for (int i = 0; i < count; ++i)
          to[l * Width + first + i] = advance[i] ? from[i][l - whole] : T(0);
    }
  } else if (x.i_stride == 1 && !x.i_table && rows == Width) {
    for (int l = 0; l < steps; ++l) std::memcpy(to + l * Width, x.step(l), sizeof(T) * Width);
  } else {
    for (int l = 0; l < steps; ++l) {
      const T* from = x.step(l);
      for (int i = 0; i < rows; ++i)
        to[l * Width + i] = from[(x.i_table ? x.i_table[i] : i) * x.i_stride];
      for (int i = rows; i < Width; ++i) to[l * Width + i] = T(0);
    }
  }
}

}  // namespace moe::detail
