#pragma once
#include <cmath>
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// partial[r] = sum of x^2 over chunk r. A matrix has `size` elements.
template <class W>
struct NormSquare {
  std::ptrdiff_t size;
  const W* x;
  W* partial;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const W square = square_of(group, x + c.first, c.length);
    group.once([&] { partial[r] = square; });
  }
  MOE_KERNEL static W square_of(const auto& group, const W* x, int length) {
    const Row<const W> row{x};
    return group.sum(length, [&]<class V>(Lane<V> i) {
      const V value = row[i];
      return V(value * value);
    });
  }
};

/// A piece of a gradient, and the chunks of one of its matrices.
template <class W>
struct GradientChunk {
  const W* grad;
  int length;
};
struct GradientMatrix {
  int first, chunks;  // its chunks in the table
  int leaf;           // the number of its leaf
};

/// partial[r] = sum of squares of chunk r of a table: all leaves of a gradient in one launch.
template <class W>
struct GradientSquare {
  const GradientChunk<W>* chunk;
  W* partial;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W square = NormSquare<W>::square_of(group, chunk[r].grad, chunk[r].length);
    group.once([&] { partial[r] = square; });
  }
};

/// square[i] = the squared norm of matrix i, from the squares of its chunks.
template <class W>
struct MatrixSquare {
  const GradientMatrix* matrix;
  const W* partial;
  double* square;
  int most_chunks;  // of a matrix
  MOE_KERNEL int width() const { return most_chunks; }
  MOE_KERNEL void operator()(const auto& group, int i) const {
    const W* const part = partial + matrix[i].first;
    const double sum = group.total(matrix[i].chunks, [&](int c) { return double(part[c]); });
    group.once([&] { square[i] = sum; });
  }
};

/// Decides about the update: its norm, its scale min(1, clip / norm), and whether it is skipped
/// because the norm or a loss is not finite; counts it. Launched for one row.
struct DecideStep {
  int matrices;
  const GradientMatrix* matrix;
  const double* square;
  double clip;
  int* loss_not_finite;  // set to 0
  StepControl* step;
  MOE_KERNEL int width() const { return matrices; }
  MOE_KERNEL void operator()(const auto& group, int) const {
    const double norm = std::sqrt(group.total(matrices, [&](int i) { return square[i]; }));
    group.once([&] { decide(norm); });
  }
  MOE_KERNEL void decide(double norm) const {
    int bad = -1;
    for (int i = 0; !finite(norm) && bad < 0 && i < matrices; ++i)
      if (!finite(square[i])) bad = matrix[i].leaf;
    const bool good = finite(norm) && *loss_not_finite == 0;
    step->norm = norm;
    step->first_bad_leaf = bad;
    step->loss_not_finite = *loss_not_finite;
    step->skip = good ? 0 : 1;
    step->grad_scale = !good ? 0 : norm > clip ? clip / norm : 1;
    if (good) step->last_finite_norm = norm;
    step->updates += good ? 1 : 0;
    step->skipped += good ? 0 : 1;
    step->consecutive_skips = good ? 0 : step->consecutive_skips + 1;
    *loss_not_finite = 0;
  }
  MOE_KERNEL static bool finite(double x) { return x - x == 0; }
};

}  // namespace moe::kernel
