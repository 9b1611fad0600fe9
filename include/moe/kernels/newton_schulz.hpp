#pragma once
#include <moe/core/lane.hpp>

// The element-wise steps between the matrix products of Newton-Schulz orthogonalization. `gram` and
// `square` are symmetric (m x m) matrices. The products compute only their blocks on and above the
// diagonal, in strips of `strip` rows.

namespace moe::inline MOE_ISA::kernel {

/// factor[i] = 1 / (stretch * |X_i| + eps), where |X_i| is the Frobenius norm of matrix i, computed
/// from `parts` partial sums of squares.
template <class T>
struct InverseNorm {
  int parts;
  const T* partial;
  T* factor;
  double stretch, eps;
  MOE_KERNEL void operator()(const auto&, int i) const {
    double square = 0;
    for (int j = 0; j < parts; ++j) square += double(partial[std::ptrdiff_t(i) * parts + j]);
    factor[i] = T(1 / (stretch * sqrt(square) + eps));
  }
};

/// X_i *= factor[i] for every matrix i of the stack. Row r belongs to matrix r / rows.
template <class T>
struct ScaleMatrix {
  int rows, cols;
  T* x;
  const T* factor;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Row<T> row{x + std::ptrdiff_t(r) * cols};
    const T f = factor[r / rows];
    group.for_each(cols, [&]<class V>(Lane<V> i) {
      const V value = row[i];
      row[i] = V(V(f) * value);
    });
  }
};

/// square = a I + b * gram + c * square, on and above the diagonal blocks.
template <class T>
struct Polynomial {
  int m, strip;
  const T* gram;
  T* square;
  T a, b, c;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const int diagonal = r % m, first = diagonal / strip * strip;
    const std::ptrdiff_t at = std::ptrdiff_t(r) * m + first;
    const Row<const T> g{gram + at};
    const Row<T> s{square + at};
    group.for_each(m - first, [&]<class V>(Lane<V> i) {
      const V value = s[i];
      const V one = generate(i, [&](int j) { return first + j == diagonal ? a : T(0); });
      s[i] = V(V(c) * value + (V(b) * g[i] + one));
    });
  }
};

/// Copies the blocks above the diagonal to their mirror images below it.
template <class T>
struct Mirror {
  int m, strip;
  T* x;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const int row = r % m;
    T* const matrix = x + std::ptrdiff_t(r / m) * m * m;
    const Row<T> out{matrix + std::ptrdiff_t(row) * m};
    group.for_each(row / strip * strip, [&]<class V>(Lane<V> i) {
      out[i] = V(generate(i, [&](int j) { return matrix[std::ptrdiff_t(j) * m + row]; }));
    });
  }
};

}  // namespace moe::inline MOE_ISA::kernel
