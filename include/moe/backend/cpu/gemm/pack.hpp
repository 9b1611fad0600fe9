#pragma once
#include <cstddef>
#include <cstring>
#include <moe/backend/cpu/simd/lanes.hpp>
#include <utility>

namespace moe::inline MOE_ISA::detail {

/// A matrix operand as packing reads it. Element (i, l), with i along the tile and l along the sum,
/// lies at data[i * i_stride + l * l_stride]. A table may replace either index. S is the type in
/// memory; packing converts it.
template <class S>
struct Operand {
  const S* data;
  std::ptrdiff_t i_stride, l_stride;
  const int* i_table = nullptr;
  const int* l_table = nullptr;

  const S* row(int i) const { return data + (i_table ? i_table[i] : i) * i_stride; }
  const S* step(int l) const { return data + (l_table ? l_table[l] : l) * l_stride; }
  bool along_l() const { return l_stride == 1 && !l_table; }
  bool along_i() const { return i_stride == 1 && !i_table; }
  Operand from(int i, int l) const {
    Operand to = *this;
    if (i_table) to.i_table += i;
    if (l_table) to.l_table += l;
    to.data += (i_table ? 0 : i * i_stride) + (l_table ? 0 : l * l_stride);
    return to;
  }
};

/// Prefetches the operand that is packed next, a few lines per call of the micro-kernel. Without it
/// packing stalls on memory, about 10 % of the time of a product.
class Prefetcher {
 public:
  Prefetcher() = default;
  /// Prefetches `rows` x `steps` elements of x, spread over `tiles` calls of the micro-kernel.
  template <class S>
  Prefetcher(const Operand<S>& x, int rows, int steps, int tiles) {
    const bool along_l = x.along_l();
    if (rows <= 0 || steps <= 0 || tiles <= 0 || (!along_l && !x.along_i())) return;
    base_ = reinterpret_cast<const char*>(x.data);
    stride_ = (along_l ? x.i_stride : x.l_stride) * std::ptrdiff_t(sizeof(S));
    table_ = along_l ? x.i_table : x.l_table;
    runs_ = along_l ? rows : steps;
    length_ = (along_l ? steps : rows) * std::ptrdiff_t(sizeof(S));
    const std::ptrdiff_t lines = runs_ * (length_ / line + 1);
    per_slice_ = int(lines / (slices * std::ptrdiff_t(tiles)) + 1);
    open();
  }

  static constexpr int slices = 8;  // prefetch calls per tile
  /// Inlined in any case: around a call the micro-kernel would save all of its sums.
  [[gnu::always_inline]] void ask() {
    for (int i = 0; i < per_slice_ && at_; ++i) {
      __builtin_prefetch(at_, 0, 2);
      at_ += line;
      if (at_ >= end_) {
        ++run_;
        open();
      }
    }
  }

 private:
  static constexpr std::ptrdiff_t line = 64;
  [[gnu::always_inline]] void open() {
    at_ = run_ < runs_ ? base_ + (table_ ? table_[run_] : run_) * stride_ : nullptr;
    end_ = at_ ? at_ + length_ : nullptr;
  }
  const char *base_ = nullptr, *at_ = nullptr, *end_ = nullptr;
  const int* table_ = nullptr;
  std::ptrdiff_t stride_ = 0, length_ = 0;
  int runs_ = 0, run_ = 0, per_slice_ = 0;
};

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MOE_HAS_SHUFFLE 1
#endif
#endif

/// Loads one register of elements, converted to T.
template <class T, class S>
[[gnu::always_inline]] inline Register<T> load_pack(const S* at) {
  return load(at, Lane<Register<T>>{0});
}

#ifdef MOE_HAS_SHUFFLE
#undef MOE_HAS_SHUFFLE
/// A step of the transposition: exchanges the off-diagonal S x S blocks of the registers a (row i)
/// and b (row i + S).
template <int S, class Register, int... L>
[[gnu::always_inline]] inline void exchange(Register& a, Register& b,
                                            std::integer_sequence<int, L...>) {
  constexpr int width = int(sizeof...(L));
  const Register upper = __builtin_shufflevector(a, b, ((L & S) ? width + L - S : L)...);
  b = __builtin_shufflevector(a, b, ((L & S) ? width + L : L + S)...);
  a = upper;
}
template <int S, class T, class Register, int Count>
[[gnu::always_inline]] inline void transpose_from(Register (&r)[Count]) {
  if constexpr (S < Count) {
    constexpr auto lanes = std::make_integer_sequence<int, batch_width<T>>{};
#pragma GCC unroll 16
    for (int i = 0; i < Count; ++i)
      if (!(i & S)) exchange<S>(r[i], r[i + S], lanes);
    transpose_from<2 * S, T>(r);
  }
}
/// r[l] = column l of W rows, where W is the width of a register.
template <class T, class S, int W>
[[gnu::always_inline]] inline void load_columns(const S* const* from,
                                                typename Register<T>::register_type (&r)[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) r[i] = load_pack<T>(from[i]);
  transpose_from<1, T>(r);
}
#else
template <class T, class S, int W>
inline void load_columns(const S* const* from, typename Register<T>::register_type (&r)[W]) {
  for (int l = 0; l < W; ++l) {
    T column[W];
    for (int i = 0; i < W; ++i) column[i] = T(from[i][l]);
    r[l] = Register<T>::load_unaligned(column);
  }
}
#endif

/// As many rows as a register has lanes: row i is row_at[i] from `data`, and `steps` numbers long.
/// What is read next lies from `soon` on, if the rows of the matrix follow one another.
template <class S>
struct Strip {
  const S *data, *soon;
  const std::ptrdiff_t* row_at;
  int steps;
};

/// r[l] = column l, of elements E, of the rows of a strip from number s on. Prefetches as much of
/// what is read later into the second-level cache, in the order of addresses: that makes the
/// processor read ahead itself, which it does not do for many short rows side by side.
template <class T, class E, class S, int W>
[[gnu::always_inline]] inline void load_columns_at(const Strip<S>& from, int s,
                                                   typename Register<T>::register_type (&r)[W]) {
  constexpr int numbers = W * int(sizeof(E)) / int(sizeof(S)), line = 64 / int(sizeof(S));
  const S* const soon = from.soon + s * W;
  const E* row[W];
  for (int i = 0; i < W; ++i) row[i] = reinterpret_cast<const E*>(from.data + s + from.row_at[i]);
  for (int i = 0; i < numbers * W; i += line) __builtin_prefetch(soon + i, 0, 2);
  load_columns<T>(row, r);
}

/// to[l * step + i] = from[i][l], for a square with the width of a register.
template <class T, class S>
inline void transpose_square(const S* const* from, T* to, std::ptrdiff_t step) {
  constexpr int width = batch_width<T>;
  typename Register<T>::register_type r[width];
  load_columns<T>(from, r);
#pragma GCC unroll 16
  for (int l = 0; l < width; ++l) Register<T>(r[l]).store_unaligned(to + l * step);
}

/// to[l * Width + i] = x(i, l) for i < rows and l < steps, and 0 for rows <= i < Width. Rows are
/// contiguous along l and are transposed in registers. The last, partial register of a step writes
/// beyond the step: into the next step, which is written later, or into the gap between panels.
template <int Width, class T, class X>
inline void pack_transposed(const X& x, int rows, int steps, T* to) {
  using S = std::remove_cvref_t<decltype(*x.row(0))>;
  constexpr int width = batch_width<T>, chunks = (Width + width - 1) / width;
  static constexpr S nothing[width] = {};
  const int whole = steps - steps % width;
  for (int chunk = chunks - 1; chunk >= 0; --chunk) {
    const int first = chunk * width;
    const int count = Width - first < width ? Width - first : width;
    const S* from[width];
    std::ptrdiff_t advance[width];
    for (int i = 0; i < width; ++i) {
      const bool inside = i < count && first + i < rows;
      from[i] = inside ? x.row(first + i) : nothing;
      advance[i] = inside ? width : 0;
    }
    for (int l = 0; l < whole; l += width) {
      transpose_square(from, to + l * Width + first, Width);
      for (int i = 0; i < width; ++i) from[i] += advance[i];
    }
    for (int l = whole; l < steps; ++l)
      for (int i = 0; i < count; ++i)
        to[l * Width + first + i] = advance[i] ? T(from[i][l - whole]) : T(0);
  }
}

/// Loads the first Count elements at `from` and fills the register with 0.
template <int Count, class T, class S>
[[gnu::always_inline]] inline Register<T> load_first(const S* from) {
  constexpr int width = batch_width<T>;
  if constexpr (Count >= width) {
    return load_pack<T>(from);
  } else {
#ifdef __AVX512F__
    if constexpr (std::is_same_v<T, S> && sizeof(T) == 4)
      return _mm512_maskz_loadu_ps(__mmask16((1 << Count) - 1), from);
#endif
    T number[width] = {};
    for (int i = 0; i < Count; ++i) number[i] = T(from[i]);
    return Register<T>::load_unaligned(number);
  }
}

/// to[l * Width + i] = x(i, l) for i < Width and l < steps, for rows that are contiguous along i.
/// Writes beyond a step as pack_transposed does.
template <int Width, class T, class S>
inline void pack_contiguous(const Operand<S>& x, int steps, T* to) {
  constexpr int width = batch_width<T>, chunks = (Width + width - 1) / width;
  for (int l = 0; l < steps; ++l, to += Width) {
    const S* const from = x.step(l);
    Register<T> r[chunks];
    [&]<int... C>(std::integer_sequence<int, C...>) {
      ((r[C] = load_first<Width - C * width, T>(from + C * width)), ...);
    }
    (std::make_integer_sequence<int, chunks>{});
    for (int chunk = 0; chunk < chunks; ++chunk) r[chunk].store_unaligned(to + chunk * width);
  }
}

/// Distance between packed panels: a whole number of cache lines, plus one line. Without the extra
/// line, panels that are written side by side would map to the same sets of the first-level cache.
inline constexpr int panel_room = 16;
template <int Width>
constexpr std::ptrdiff_t panel_step(int steps) {
  return (std::ptrdiff_t(steps) * Width + 15) / 16 * 16 + panel_room;
}

/// Packs `rows` rows into panels of Width rows, in the order of the micro-kernel: element (i, l) of
/// a panel at [l * Width + i], missing rows as 0. Panels are panel_step apart.
template <int Width, class T, class S>
inline void pack_panels(const Operand<S>& x, int rows, int steps, T* to) {
  const std::ptrdiff_t panel = panel_step<Width>(steps);
  if (x.along_l()) {
    for (int i = 0; i < rows; i += Width, to += panel)
      pack_transposed<Width, T>(x.from(i, 0), rows - i < Width ? rows - i : Width, steps, to);
  } else if (x.along_i()) {
    for (int i = 0; i < rows; i += Width, to += panel) {
      if (rows - i >= Width) {
        pack_contiguous<Width, T>(x.from(i, 0), steps, to);
        continue;
      }
      for (int l = 0; l < steps; ++l) {
        const S* const from = x.step(l) + i;
        for (int r = 0; r < Width; ++r) to[l * Width + r] = r < rows - i ? T(from[r]) : T(0);
      }
    }
  } else {
    for (int l = 0; l < steps; ++l) {
      const S* const from = x.step(l);
      T* at = to + l * Width;
      for (int first = 0; first < rows; first += Width, at += panel)
        for (int i = 0; i < Width; ++i)
          at[i] = first + i < rows
                      ? T(from[(x.i_table ? x.i_table[first + i] : first + i) * x.i_stride])
                      : T(0);
    }
  }
}

}  // namespace moe::detail
