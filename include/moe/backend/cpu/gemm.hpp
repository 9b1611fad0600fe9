#pragma once
#include <algorithm>
#include <moe/backend.hpp>
#include <moe/backend/cpu/memory.hpp>
#include <moe/backend/cpu/micro_kernel.hpp>
#include <moe/backend/cpu/pack.hpp>

// The matrix product of one thread, and how a product is split over threads.
//
// Both operands are packed: a block of B (steps x block of columns) for the second-level cache,
// one panel of A (tile rows x steps) for the first. A number of C is a sum over blocks of k, each
// block a chain of fused multiply-adds in the order of k; the blocks depend on k alone. So its
// bits depend neither on the other rows and columns nor on threads.
// Source: Goto & van de Geijn 2008, doi:10.1145/1356052.1356053; BLIS, doi:10.1145/2764454.

namespace moe::detail {

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }
inline int round_up(int a, int b) { return ceil_div(a, b) * b; }

template <class T>
struct Blocking {
  static constexpr int max_steps = sizeof(T) == 4 ? 512 : 256;
  static constexpr int max_block = sizeof(T) == 4 ? 196608 : 98304;  // numbers of B: 768 KB
  static constexpr int max_cols = 1024;
  static constexpr std::size_t workspace_numbers =
      std::size_t(max_block) + std::size_t(max_steps) * Tile<T>::cols +
      std::size_t(max_steps) * Tile<T>::rows + 4 * std::size_t(pack_slack<T>) + 64;

  /// Even blocks of k, at most max_steps long. A function of k alone.
  static int steps(int k) {
    return k <= max_steps ? k : round_up(ceil_div(k, ceil_div(k, max_steps)), 16);
  }
  /// Even blocks of n that keep a block of B in the second-level cache, whatever m is.
  static int cols(int n, int steps) {
    const int most =
        std::max(Tile<T>::cols, std::min(max_cols, max_block / std::max(1, steps)));
    const int panels = ceil_div(n, Tile<T>::cols), per_block = std::max(1, most / Tile<T>::cols);
    return ceil_div(panels, ceil_div(panels, per_block)) * Tile<T>::cols;
  }
};

/// The panel height for `rows` rows that are left: small products are not padded to a full tile.
template <class T>
inline int panel_rows(int rows) {
  for (int r = 1; r < Tile<T>::rows; r *= 2)
    if (rows <= r) return r;
  return Tile<T>::rows;
}

template <class T, int R, int V>
inline void multiply_panel(int rows, int cols, int k, const T* a, const T* b,
                           std::ptrdiff_t b_step, T* c, std::ptrdiff_t ldc, const Finish<T>& o) {
  if constexpr (V > 1) {
    if (cols <= (V - 1) * Tile<T>::width)
      return multiply_panel<T, R, V - 1>(rows, cols, k, a, b, b_step, c, ldc, o);
  }
  multiply_tile_at_edge<T, R, V, 1>(rows, cols, k, a, R, b, b_step, c, ldc, o);
}

/// Packs `rows` <= R rows of A and multiplies them with every packed panel of B.
template <class T, int R>
void multiply_rows(const Operand<T>& a, int rows, int cols, int k, T* a_panel, const T* b_block,
                   T* c, std::ptrdiff_t ldc, const Finish<T>& finish) {
  constexpr int panel = Tile<T>::cols;
  pack_panel<R>(a, rows, k, a_panel);
  for (int j = 0; j < cols; j += panel) {
    Finish<T> o = finish;
    if (o.bias) o.bias += j;
    multiply_panel<T, R, Tile<T>::packs>(rows, std::min(panel, cols - j), k, a_panel,
                                         b_block + std::ptrdiff_t(j) * k, panel, c + j, ldc, o);
  }
}

/// The product on one thread. `workspace` holds Blocking<T>::workspace_numbers.
template <class T>
void multiply(int m, int n, int k, const Operand<T>& a, const Operand<T>& b, T* c,
              std::ptrdiff_t ldc, const GemmOptions<T>& o, T* workspace) {
  if (m <= 0 || n <= 0) return;
  constexpr int rows = Tile<T>::rows, panel = Tile<T>::cols;
  const int most_steps = Blocking<T>::steps(k), most_cols = Blocking<T>::cols(n, most_steps);
  T* a_panel = workspace;
  T* b_block = workspace + round_up(Blocking<T>::max_steps * rows + pack_slack<T>, 64);
  for (int j = 0; j < n; j += most_cols) {
    const int cols = std::min(most_cols, n - j);
    int l = 0;
    do {  // once even when k = 0: C gets bias + beta * C
      const int steps = std::min(most_steps, k - l);
      for (int p = 0; p < cols; p += panel)
        pack_panel<panel>(b.from(j + p, l), std::min(panel, cols - p), steps,
                          b_block + std::ptrdiff_t(p) * steps);
      Finish<T> finish{o.alpha, T(1), nullptr};
      if (l == 0) finish = {o.alpha, o.beta, o.bias ? o.bias + j : nullptr};
      for (int i = 0; i < m;) {
        const int height = panel_rows<T>(m - i), used = std::min(height, m - i);
        const Operand<T> from = a.from(i, l);
        T* to = c + i * ldc + j;
        const auto run = [&]<int R>(std::integral_constant<int, R>) {
          multiply_rows<T, R>(from, used, cols, steps, a_panel, b_block, to, ldc, finish);
        };
        if (height == 1) {
          run(std::integral_constant<int, 1>{});
        } else if (height == 2) {
          run(std::integral_constant<int, 2>{});
        } else if (height == 8 && rows > 8) {
          run(std::integral_constant<int, (rows > 8 ? 8 : rows)>{});
        } else if (height == 4 && rows > 4) {
          run(std::integral_constant<int, 4>{});
        } else {
          run(std::integral_constant<int, rows>{});
        }
        i += used;
      }
      l += steps;
    } while (l < k);
  }
}

/// How a product is cut: `rows` x `cols` parts. B is packed once per row part and A once per
/// column part, so the cut with the shortest sides is best.
struct Cut {
  int rows = 1, cols = 1;
};
template <class T>
Cut best_cut(int threads, double m, int n, double flops) {
  constexpr double worth_a_thread = 1e6;  // some ten microseconds, against a fork of a few
  Cut best;
  if (flops < worth_a_thread) return best;
  double least = 0;
  for (int rows = 1; rows <= threads; ++rows) {
    if (threads % rows) continue;
    const int cols = threads / rows;
    const double tall = std::max(m / rows, double(Tile<T>::rows)),
                 wide = std::max(double(n) / cols, double(Tile<T>::cols));
    const double cost = tall * wide / 32 + (tall + wide) / 4;
    if (rows == 1 || cost < least) {
      least = cost;
      best = {rows, cols};
    }
  }
  return best;
}

/// Part `i` of `parts` of 0 ... n-1, whole units each but the last: {first, end}.
inline std::pair<int, int> share(int n, int parts, int i, int unit) {
  const long long units = ceil_div(n, unit);
  const auto at = [&](int part) { return int(std::min<long long>(n, units * part / parts * unit)); };
  return {at(i), at(i + 1)};
}

}  // namespace moe::detail
