#pragma once
#include <algorithm>
#include <moe/backend/cpu/gemm/micro_kernel.hpp>
#include <utility>

// The division of a product over threads.

namespace moe::inline MOE_ISA::detail {

inline int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}
inline int round_up(int a, int b) {
  return ceil_div(a, b) * b;
}

/// The division of a product into rows x cols parts. B is packed once per row part and A once per
/// column part, so the division with the shortest sides is best.
struct Partition {
  int rows = 1, cols = 1;
};
/// The work of a product in floating-point operations. Reading and packing one element of B costs
/// as much as about 16 of them.
inline double work_of(double m, double n, double k) {
  return (2 * m + 16) * n * k;
}
/// Least work for which threads are started: about 10 us. Starting them costs a few us.
inline constexpr double worth_a_thread = 1e6;

template <class T>
Partition best_partition(int threads, double m, int n, double work) {
  Partition best;
  if (work < worth_a_thread) return best;
  double min_cost = 0;
  for (int rows = 1; rows <= threads; ++rows) {
    if (threads % rows) continue;
    const int cols = threads / rows;
    const double tall = std::max(m / rows, double(Tile<T>::rows)),
                 wide = std::max(double(n) / cols, double(Tile<T>::cols));
    const double cost = tall * wide / 32 + (tall + wide) / 4;
    if (rows == 1 || cost < min_cost) {
      min_cost = cost;
      best = {rows, cols};
    }
  }
  return best;
}

/// Part `i` of `parts` of the range 0 ... n-1, as {first, end}. Every part but the last is a whole
/// number of units.
inline std::pair<int, int> share(int n, int parts, int i, int unit) {
  const long long units = ceil_div(n, unit);
  const auto at = [&](int part) {
    return int(std::min<long long>(n, units * part / parts * unit));
  };
  return {at(i), at(i + 1)};
}

}  // namespace moe::detail
