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

inline int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}
inline int round_up(int a, int b) {
  return ceil_div(a, b) * b;
}

template <class T>
struct Blocking {
  static constexpr int max_steps = sizeof(T) == 4 ? 512 : 256;
  static constexpr int max_block = 294912 / int(sizeof(T) / 4);  // numbers of B: 1.2 MB
  static constexpr int max_cols = 1536;
  static constexpr int row_panels = 6;  // panels of A packed at a time
  static constexpr std::size_t a_numbers =
      std::size_t(row_panels) * std::size_t(max_steps * Tile<T>::rows + pack_slack<T> + 64);
  static constexpr std::size_t b_numbers =
      std::size_t(max_block) + std::size_t(max_steps + 64) * Tile<T>::cols +
      std::size_t(max_cols / Tile<T>::cols + 2) * std::size_t(pack_slack<T> + 64);
  static constexpr std::size_t workspace_numbers = a_numbers + b_numbers;

  /// Even blocks of k, at most max_steps long. A function of k alone. Short sums are cut too: their
  /// speed does not matter, and shorter chains round less.
  static int steps(int k) {
    if (k <= 64) return std::min(k, 16);
    return k <= max_steps ? k : round_up(ceil_div(k, ceil_div(k, max_steps)), 16);
  }
  /// Even blocks of n that keep a block of B in the second-level cache; with few rows, where
  /// packing is most of the work, in the first.
  static int cols(int m, int n, int steps) {
    const int fit = m <= 2 * Tile<T>::rows ? 1 : max_block / std::max(1, steps);
    const int most = std::max(Tile<T>::cols, std::min(max_cols, fit));
    const int panels = ceil_div(n, Tile<T>::cols), per_block = std::max(1, most / Tile<T>::cols);
    return ceil_div(panels, ceil_div(panels, per_block)) * Tile<T>::cols;
  }
};

template <class T, int R, int V>
inline void multiply_panel(int rows, int cols, int k, const T* a, const T* b, std::ptrdiff_t b_step,
                           T* c, std::ptrdiff_t ldc, const Finish<T>& o) {
  if constexpr (V > 1) {
    if (cols <= (V - 1) * Tile<T>::width)
      return multiply_panel<T, R, V - 1>(rows, cols, k, a, b, b_step, c, ldc, o);
  }
  multiply_tile_at_edge<T, R, V, 1>(rows, cols, k, a, R, b, b_step, c, ldc, o);
}

/// Rows of A (m of them), in packed panels of R rows, times a packed block of B.
template <class T, int R>
void multiply_block(const Operand<T>& a, int m, int cols, int k, T* a_block, const T* b_block, T* c,
                    std::ptrdiff_t ldc, const Finish<T>& finish) {
  constexpr int panel = Tile<T>::cols, group = Blocking<T>::row_panels * R;
  for (int first = 0; first < m; first += group) {
    const int end = std::min(m, first + group);
    pack_panels<R>(a.from(first, 0), end - first, k, a_block);
    const T* a_panel = a_block;
    for (int i = first; i < end; i += R, a_panel += panel_step<R, T>(k)) {
      const T* b_panel = b_block;
      for (int j = 0; j < cols; j += panel, b_panel += panel_step<panel, T>(k)) {
        Finish<T> o = finish;
        if (o.bias) o.bias += j;
        multiply_panel<T, R, Tile<T>::packs>(std::min(R, end - i), std::min(panel, cols - j), k,
                                             a_panel, b_panel, panel, c + i * ldc + j, ldc, o);
      }
    }
  }
}

/// The product on one thread. `workspace` holds Blocking<T>::workspace_numbers.
template <class T>
void multiply(int m, int n, int k, const Operand<T>& a, const Operand<T>& b, T* c,
              std::ptrdiff_t ldc, const GemmOptions<T>& o, T* workspace) {
  if (m <= 0 || n <= 0) return;
  constexpr int rows = Tile<T>::rows, panel = Tile<T>::cols;
  const int most_steps = Blocking<T>::steps(k), most_cols = Blocking<T>::cols(m, n, most_steps);
  T *const a_block = workspace, *const b_block = workspace + Blocking<T>::a_numbers;
  const int full = m / rows * rows;  // the rest goes through one smaller panel
  for (int j = 0; j < n; j += most_cols) {
    const int cols = std::min(most_cols, n - j);
    int l = 0;
    do {  // once even when k = 0: C gets bias + beta * C
      const int steps = std::min(most_steps, k - l);
      pack_panels<panel>(b.from(j, l), cols, steps, b_block);
      Finish<T> finish{o.alpha, T(1), nullptr};
      if (l == 0) finish = {o.alpha, o.beta, o.bias ? o.bias + j : nullptr};
      const auto run = [&]<int R>(std::integral_constant<int, R>, int i, int count) {
        multiply_block<T, R>(a.from(i, l), count, cols, steps, a_block, b_block, c + i * ldc + j,
                             ldc, finish);
      };
      if (full > 0) run(std::integral_constant<int, rows>{}, 0, full);
      if (const int rest = m - full; rest == 1) {
        run(std::integral_constant<int, 1>{}, full, rest);
      } else if (rest == 2) {
        run(std::integral_constant<int, 2>{}, full, rest);
      } else if (rest > 0 && rest <= 4) {
        run(std::integral_constant<int, 4>{}, full, rest);
      } else if (rest > 0 && rest <= 8) {
        run(std::integral_constant<int, Tile<T>::half_rows>{}, full, rest);
      } else if (rest > 0) {
        run(std::integral_constant<int, rows>{}, full, rest);
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
  const auto at = [&](int part) {
    return int(std::min<long long>(n, units * part / parts * unit));
  };
  return {at(i), at(i + 1)};
}

}  // namespace moe::detail
