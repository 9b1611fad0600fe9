#pragma once
#include <moe/core/lane.hpp>

// The element-wise steps between the matrix products of Newton-Schulz orthogonalization. `gram` and
// `square` are symmetric (m x m) matrices.

namespace moe::inline MOE_ISA::kernel {

/// factor[i] = 1 / (stretch * |X_i| + eps), where |X_i| is the Frobenius norm of matrix i, computed
/// from `parts` partial sums of squares.
template <class W>
struct InverseNorm {
  int parts;
  const W* partial;
  W* factor;
  double stretch, eps;
  MOE_KERNEL int width() const { return parts; }
  MOE_KERNEL void operator()(const auto& group, int i) const {
    const W* const part = partial + std::ptrdiff_t(i) * parts;
    const double square = group.total(parts, [&](int j) { return double(part[j]); });
    group.once([&] { factor[i] = W(1 / (stretch * sqrt(square) + eps)); });
  }
};

/// X_i *= factor[i] for every matrix i of the stack. Row r belongs to matrix r / rows.
template <class W>
struct ScaleMatrix {
  int rows, cols;
  W* x;
  const W* factor;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Row<W> row{x + std::ptrdiff_t(r) * cols};
    const W f = factor[r / rows];
    group.for_each(cols, [&]<class V>(Lane<V> i) {
      const V value = row[i];
      row[i] = V(V(f) * value);
    });
  }
};

/// square = a I + b * gram + c * square, on and above the diagonal blocks of `strip` rows.
template <class W>
struct Polynomial {
  int m, strip;
  const W* gram;
  W* square;
  W a, b, c;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const int diagonal = r % m, first = diagonal / strip * strip;
    const std::ptrdiff_t at = std::ptrdiff_t(r) * m + first;
    const Row<const W> g{gram + at};
    const Row<W> s{square + at};
    group.for_each(m - first, [&]<class V>(Lane<V> i) {
      const V value = s[i];
      const V one = generate(i, [&](int j) { return first + j == diagonal ? a : W(0); });
      s[i] = V(V(c) * value + (V(b) * g[i] + one));
    });
  }
};

/// Copies the blocks above the diagonal to their mirror images below it.
template <class W>
struct Mirror {
  int m, strip;
  W* x;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const int row = r % m;
    W* const matrix = x + std::ptrdiff_t(r / m) * m * m;
    const Row<W> out{matrix + std::ptrdiff_t(row) * m};
    group.for_each(row / strip * strip, [&]<class V>(Lane<V> i) {
      out[i] = V(generate(i, [&](int j) { return matrix[std::ptrdiff_t(j) * m + row]; }));
    });
  }
};

}  // namespace moe::kernel
