#pragma once
#include <algorithm>
#include <moe/backend/backend.hpp>
#include <moe/backend/cpu/gemm/micro_kernel.hpp>
#include <moe/backend/cpu/gemm/pack.hpp>
#include <moe/backend/cpu/gemm/partition.hpp>
#include <moe/backend/cpu/memory.hpp>

// The matrix product of one thread.
//
// Both operands are packed: a block of B (steps x columns) that fits the second-level cache, and a
// few panels of A (tile rows x steps). An element of C is a sum over blocks of k; in each block it
// is a chain of FMAs in the order of k. The blocks depend on k only. So the bits of an element
// depend neither on the other rows and columns nor on the threads.
// Source: Goto & van de Geijn 2008, doi:10.1145/1356052.1356053; BLIS, doi:10.1145/2764454.

namespace moe::inline MOE_ISA::detail {

template <class T>
struct Blocking {
  static constexpr int max_steps = sizeof(T) == 4 ? 384 : 256;
  static constexpr int max_block = 294912 / int(sizeof(T) / 4);  // elements of a block of B: 1.2 MB
  static constexpr int max_cols = 1536;
  static constexpr int group = 84;         // rows of A packed at a time
  static constexpr int chunk = 8 * group;  // rows of a narrow C that are summed in T at a time
  static constexpr std::size_t a_numbers =
      std::size_t(group / Tile<T>::rows) * std::size_t(panel_step<Tile<T>::rows>(max_steps));
  static constexpr std::size_t b_numbers =
      std::size_t(max_block) + std::size_t(max_steps + 16) * Tile<T>::cols + 4 * max_cols;
  static constexpr std::size_t workspace_numbers = a_numbers + b_numbers;
  static constexpr int rounded_cols = 24 * Tile<T>::cols;
  static constexpr std::size_t rounded_numbers = std::size_t(chunk) * rounded_cols;

  /// Steps in a block of k: equal blocks of at most max_steps. A function of k only. Short sums are
  /// divided too: their speed does not matter, and shorter chains have less rounding error.
  static int steps(int k) {
    if (k <= 64) return std::min(k, 16);
    return k <= max_steps ? k : round_up(ceil_div(k, ceil_div(k, max_steps)), 16);
  }
  /// Columns in a block of n: equal blocks, so that a block of B fits the second-level cache. With
  /// few rows packing is most of the work, and the block fits the first-level cache.
  static int cols(int m, int n, int steps) {
    const int fit = m <= 2 * Tile<T>::rows ? 1 : max_block / std::max(1, steps);
    const int limit = std::max(Tile<T>::cols, std::min(max_cols, fit));
    const int panels = ceil_div(n, Tile<T>::cols), per_block = std::max(1, limit / Tile<T>::cols);
    return ceil_div(panels, ceil_div(panels, per_block)) * Tile<T>::cols;
  }
};

/// A row kernel that a product runs on rows of C as soon as they are complete, while they are in
/// cache; or nothing. `first`: the number that the first row of the product has for the kernel.
struct RowsAfter {
  void (*run)(const void* kernel, int first, int end) = nullptr;
  const void* kernel = nullptr;
  int first = 0;

  RowsAfter from(int i) const { return {run, kernel, first + i}; }
  /// Rows begin ... end - 1 of the product are complete.
  void operator()(int begin, int end) const {
    if (run) run(kernel, first + begin, first + end);
  }
};

/// The default kernel of a product. A kernel says how operands are packed (one packed T holds
/// `terms` terms of the sum) and which tile reads them.
struct Widened {
  struct Session {};  // nothing to prepare
  static constexpr int terms = 1;
  template <int Width, class T, class S>
  static void pack(const Operand<S>& x, int rows, int steps, T* to) {
    pack_panels<Width, T>(x, rows, steps, to);
  }
  /// multiply_tile for a part of a tile. k counts packed steps, of `terms` terms each.
  template <class T, int R, int V, int RowStep, class C>
  static void tile(int rows, int cols, int k, const T* a, std::ptrdiff_t a_step, const T* b,
                   std::ptrdiff_t b_step, C* c, std::ptrdiff_t ldc, const Epilogue<T>& o) {
    multiply_tile_at_edge<T, R, V, RowStep>(rows, cols, k, a, a_step, b, b_step, c, ldc, o);
  }
  /// sum[r] += the products of row r of A with the rows of a strip of B, one lane for each. The
  /// strip is transposed in registers.
  template <class T, int R, class A, class B>
  static void few(const Operand<A>& a, const Strip<B>& b, Register<T>* sum) {
    constexpr int width = batch_width<T>;
    const A* row[R];
    for (int r = 0; r < R; ++r) row[r] = a.row(r);
    const auto add = [&](const Register<T>& column, int s) __attribute__((always_inline)) {
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        sum[r] = multiply_add<T>(Register<T>(T(row[r][s])), column, sum[r]);
      });
    };
    int s = 0;
    for (; s + width <= b.steps; s += width) {
      typename Register<T>::register_type column[width];
      load_columns_at<T, B>(b, s, column);
      unroll<width>([&](auto i)
                        __attribute__((always_inline)) { add(Register<T>(column[i]), s + i); });
    }
    for (; s < b.steps; ++s) {
      T column[width];
      for (int i = 0; i < width; ++i) column[i] = T(b.data[s + b.row_at[i]]);
      add(Register<T>::load_unaligned(column), s);
    }
  }
};

/// Multiplies a panel of A by a panel of B, with the smallest tile that covers the part of C.
template <class Kernel, class T, int R, int V, class C>
inline void multiply_panel(int rows, int cols, int k, const T* a, const T* b, C* c,
                           std::ptrdiff_t ldc, const Epilogue<T>& o) {
  constexpr int width = Tile<T>::width;
  if constexpr (V > 1) {
    if (cols <= (V - 1) * width)
      return multiply_panel<Kernel, T, R, V - 1>(rows, cols, k, a, b, c, ldc, o);
  }
  if constexpr (R == Tile<T>::rows) {
    if (rows <= R / 2) return multiply_panel<Kernel, T, R / 2, V>(rows, cols, k, a, b, c, ldc, o);
  }
  Kernel::template tile<T, R, V, 1>(rows, cols, k, a, Tile<T>::rows, b, Tile<T>::cols, c, ldc, o);
}

/// Multiplies m rows of A, packed in groups, by a packed block of B, and calls `after` for each
/// group. `next`: the rows of A that are needed after these, next_steps long; they are prefetched.
template <class Kernel, class T, class A, class C>
void multiply_block(const Operand<A>& a, int m, int cols, int k, T* a_block, const T* b_block, C* c,
                    std::ptrdiff_t ldc, Epilogue<T> finish, const Operand<A>& next, int next_steps,
                    const RowsAfter& after) {
  constexpr int rows = Tile<T>::rows, panel = Tile<T>::cols, group = Blocking<T>::group;
  const int packed = ceil_div(k, Kernel::terms);
  for (int first = 0; first < m; first += group) {
    const int end = std::min(m, first + group);
    Kernel::template pack<rows>(a.from(first, 0), end - first, k, a_block);
    const int tiles = ceil_div(end - first, rows) * ceil_div(cols, panel);
    Prefetcher ahead = end < m ? Prefetcher(a.from(end, 0), std::min(group, m - end), k, tiles)
                               : Prefetcher(next, std::min(group, m), next_steps, tiles);
    finish.ahead[0] = &ahead;
    const T* a_panel = a_block;
    for (int i = first; i < end; i += rows, a_panel += panel_step<rows>(packed)) {
      const T* b_panel = b_block;
      for (int j = 0; j < cols; j += panel, b_panel += panel_step<panel>(packed)) {
        Epilogue<T> o = finish;
        if (o.bias) o.bias += j;
        multiply_panel<Kernel, T, rows, Tile<T>::packs>(std::min(rows, end - i),
                                                        std::min(panel, cols - j), packed, a_panel,
                                                        b_panel, c + i * ldc + j, ldc, o);
      }
    }
    after(first, end);
  }
}

/// The product on one thread, with both operands packed.
template <class Kernel, class T, class A, class B, class C>
void multiply_packed(int m, int n, int k, const Operand<A>& a, const Operand<B>& b, C* c,
                     std::ptrdiff_t ldc, const GemmOptions<T>& o, T* workspace,
                     const RowsAfter& after) {
  constexpr int panel = Tile<T>::cols;
  const int most_steps = Blocking<T>::steps(k), most_cols = Blocking<T>::cols(m, n, most_steps);
  T *const a_block = workspace, *const b_block = workspace + Blocking<T>::a_numbers;
  for (int j = 0; j < n; j += most_cols) {
    const int cols = std::min(most_cols, n - j);
    int l = 0;
    do {  // runs once even if k = 0: C gets bias + beta * C
      const int steps = std::min(most_steps, k - l);
      Kernel::template pack<panel>(b.from(j, l), cols, steps, b_block);
      const int next_steps = std::min(most_steps, k - l - steps);
      Prefetcher ahead(b.from(j, l + steps), cols, next_steps,
                       ceil_div(m, Tile<T>::rows) * ceil_div(cols, panel));
      Epilogue<T> finish{o.alpha, T(1), nullptr, {nullptr, &ahead}};
      if (l == 0) {
        finish.beta = o.beta;
        finish.bias = o.bias ? o.bias + j : nullptr;
      }
      const bool last = j + cols == n && l + steps == k;
      multiply_block<Kernel>(a.from(0, l), m, cols, steps, a_block, b_block, c + j, ldc, finish,
                             a.from(0, l + steps), next_steps, last ? after : RowsAfter());
      l += steps;
    } while (l < k);
  }
}

/// The product of few (R) rows, as in token-by-token generation. Needs B contiguous along the sum.
/// B is read once: it is transposed in registers and not written to a packed copy. Gives the same
/// bits as multiply_packed.
template <class Kernel, class T, int R, class A, class B, class C>
void multiply_few(int n, int k, const Operand<A>& a, const Operand<B>& b, C* c, std::ptrdiff_t ldc,
                  const GemmOptions<T>& o) {
  using Pack = Register<T>;
  constexpr int width = batch_width<T>;
  const int most_steps = Blocking<T>::steps(k);
  for (int j = 0; j < n; j += width) {
    const int cols = std::min(width, n - j);
    std::ptrdiff_t row_at[width];
    for (int i = 0; i < width; ++i) row_at[i] = (i < cols ? i : 0) * b.i_stride;
    for (int l = 0; l < k || l == 0; l += std::max(1, most_steps)) {
      Pack sum[R];
      unroll<R>([&](auto r) __attribute__((always_inline)) { sum[r] = Pack(T(0)); });
      const int steps = std::min(most_steps, k - l);
      const B* const at = b.row(j) + l;
      const B* const soon = b.row(j + width < n ? j + width : j) + width * l;
      Kernel::template few<T, R>(a.from(0, l), Strip<B>{at, soon, row_at, steps}, sum);
      Epilogue<T> finish{o.alpha, l == 0 ? o.beta : T(1), nullptr, {}};
      T bias[width] = {};
      if (o.bias && l == 0) std::copy_n(o.bias + j, cols, bias);
      constexpr Lane<Pack> here{0};
      for (int r = 0; r < R; ++r) {
        C row[width] = {};
        Pack value = finish.scaled(sum[r], Pack::load_unaligned(bias));
        if (finish.beta != T(0)) {
          std::copy_n(c + r * ldc + j, cols, row);
          value = finish.added(value, load(static_cast<const C*>(row), here));
        }
        store(row, here, value);
        std::copy_n(row, cols, c + r * ldc + j);
      }
    }
  }
}

/// Makes a product whose C is narrower than T in parts: product(first row, rows, first column,
/// columns, sums, options) writes the sums of a part, contiguous, in T; they are then rounded once.
template <class T, class C, class F>
void through_wide_sums(int m, int n, C* c, std::ptrdiff_t ldc, const GemmOptions<T>& o,
                       T* workspace, const RowsAfter& after, const F& product) {
  T* const sums = workspace + Blocking<T>::workspace_numbers;
  const int panels = ceil_div(n, Tile<T>::cols), limit = Blocking<T>::rounded_cols;
  const int even = ceil_div(panels, ceil_div(n, limit)) * Tile<T>::cols;
  const SimdGroup<T> lanes;
  for (int j = 0; j < n; j += even)
    for (int i = 0; i < m; i += Blocking<T>::chunk) {
      const int cols = std::min(even, n - j), rows = std::min(Blocking<T>::chunk, m - i);
      GemmOptions<T> part = o;
      if (part.bias) part.bias += j;
      if (o.beta != T(0))
        for (int r = 0; r < rows; ++r)
          lanes.for_each(cols, [&](auto s) {
            store(sums + r * cols, s, load(static_cast<const C*>(c) + (i + r) * ldc + j, s));
          });
      product(i, rows, j, cols, sums, part);
      for (int r = 0; r < rows; ++r)
        lanes.for_each(cols, [&](auto s) {
          store(c + (i + r) * ldc + j, s, load(static_cast<const T*>(sums) + r * cols, s));
        });
      if (j + cols == n) after(i, i + rows);
    }
}

/// The product on one thread. `workspace` holds Blocking<T>::workspace_numbers elements. If C is
/// narrower than T, it holds rounded_numbers more: sums of several blocks of k are kept in T and
/// rounded once, at the end.
template <class Kernel, class T, class A, class B, class C>
void multiply(int m, int n, int k, const Operand<A>& a, const Operand<B>& b, C* c,
              std::ptrdiff_t ldc, const GemmOptions<T>& o, T* workspace,
              const RowsAfter& after = {}) {
  if (m <= 0 || n <= 0) return;
  if constexpr (!std::is_same_v<T, C>) {
    if (Blocking<T>::steps(k) < k)
      return through_wide_sums<T>(
          m, n, c, ldc, o, workspace, after,
          [&](int i, int rows, int j, int cols, T* sums, const GemmOptions<T>& part) {
            multiply<Kernel>(rows, cols, k, a.from(i, 0), b.from(j, 0), sums, cols, part,
                             workspace);
          });
  }
  const bool few = a.along_l() && b.along_l();
  int i = 0;
  const auto run = [&]<int R>(std::integral_constant<int, R>) {
    multiply_few<Kernel, T, R>(n, k, a.from(i, 0), b, c + i * ldc, ldc, o);
    after(i, i + R);
    i += R;
  };
  if (few && m <= 8) {
    if (m == 8) return run(std::integral_constant<int, 8>{});
    if (m & 4) run(std::integral_constant<int, 4>{});
    if (m & 2) run(std::integral_constant<int, 2>{});
    if (m & 1) run(std::integral_constant<int, 1>{});
    return;
  }
  multiply_packed<Kernel>(m, n, k, a, b, c, ldc, o, workspace, after);
}

}  // namespace moe::detail
