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

/// to[i] = from[i] for i < rows, 0 for rows <= i < Width. Of `from`, `readable` numbers may be
/// read; up to pack_slack numbers after to[Width - 1] may be written.
template <int Width, class T>
inline void pack_step(const T* from, int rows, int readable, T* to) {
  constexpr int width = batch_width<T>, whole = (Width + width - 1) / width * width;
  if (rows == Width && readable >= whole) {
    for (int i = 0; i < Width; i += width)
      Batch<T>::load_unaligned(from + i).store_unaligned(to + i);
    return;
  }
  int i = 0;
  for (; i + width <= rows; i += width) Batch<T>::load_unaligned(from + i).store_unaligned(to + i);
  for (; i < rows; ++i) to[i] = from[i];
  for (; i < Width; ++i) to[i] = T(0);
}

/// to[l * Width + i] = x(i, l) for i < rows, 0 for rows <= i < Width, and l < steps, where rows are
/// contiguous along l: transposed in registers. A last partial register spills over into the next
/// step, which is written later.
template <int Width, class T>
inline void pack_transposed(const Operand<T>& x, int rows, int steps, T* to) {
  constexpr int width = batch_width<T>;
  constexpr int chunks = (Width + width - 1) / width;
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
}

/// Distance of packed panels.
template <int Width, class T>
inline std::ptrdiff_t panel_step(int steps) {
  return (std::ptrdiff_t(steps) * Width + pack_slack<T> + 15) / 16 * 16;
}

/// Packs `rows` rows as panels of Width rows, the micro-kernel's order: number (i, l) of a panel at
/// [l * Width + i], missing rows 0. Panels are panel_step apart.
template <int Width, class T>
inline void pack_panels(const Operand<T>& x, int rows, int steps, T* to) {
  const std::ptrdiff_t panel = panel_step<Width, T>(steps);
  if (x.l_stride == 1 && !x.l_table) {
    for (int i = 0; i < rows; i += Width, to += panel)
      pack_transposed<Width>(x.from(i, 0), rows - i < Width ? rows - i : Width, steps, to);
  } else if (x.i_stride == 1 && !x.i_table) {
    for (int l = 0; l < steps; ++l) {
      const T* const from = x.step(l);
      T* at = to + l * Width;
      for (int i = 0; i < rows; i += Width, at += panel)
        pack_step<Width>(from + i, rows - i < Width ? rows - i : Width, rows - i, at);
    }
  } else {
    for (int l = 0; l < steps; ++l) {
      const T* const from = x.step(l);
      T* at = to + l * Width;
      for (int first = 0; first < rows; first += Width, at += panel)
        for (int i = 0; i < Width; ++i)
          at[i] = first + i < rows
                      ? from[(x.i_table ? x.i_table[first + i] : first + i) * x.i_stride]
                      : T(0);
    }
  }
}

}  // namespace moe::detail
