#pragma once
#include <cmath>
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// Cosines and sines of the angle (start + r) * base^(-2j/head_dim) for row r and pair j.
/// Source: Su et al. 2021, arXiv:2104.09864, eq. 15.
template <class W>
struct RopeTable {
  Table<W> rotation;  // (positions, head_dim): head_dim/2 cosines, then head_dim/2 sines
  int start;
  double base;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const int half = rotation.cols / 2;
    group.for_each_index(half, [&](int j) {
      const double angle =
          double(start + r) * kernel::exp(-kernel::log(base) * double(j) / double(half));
      rotation(r, j) = W(std::cos(angle));
      rotation(r, half + j) = W(std::sin(angle));
    });
  }
};

/// Rotates the pairs (j, j + head_dim/2) of every head in place. direction = 1 is forward, -1
/// rotates back.
template <class W, class T = W>
struct RopeHalf {
  Table<T> x;               // (n, heads * head_dim)
  Table<const W> rotation;  // (length, head_dim)
  int length;
  W direction;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const int head_dim = rotation.cols, half = head_dim / 2;
    const Row<const W> cosine = rotation[r % length], sine{cosine.data + half};
    for (int first = 0; first < x.cols; first += head_dim) {
      const Row<T> a{x[r].data + first}, b{x[r].data + first + half};
      group.for_each(half, [&](auto j) {
        const auto c = cosine[j], s = direction * sine[j];
        const auto u = a[j].value(), v = b[j].value();
        a[j] = u * c - v * s;
        b[j] = v * c + u * s;
      });
    }
  }
};

/// Rotates the pairs (2j, 2j + 1) of every head in place.
template <class W, class T = W>
struct RopeInterleaved {
  Table<T> x;
  Table<const W> rotation;
  int length;
  W direction;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const int head_dim = rotation.cols, half = head_dim / 2;
    const int position = r % length;
    group.for_each_index(x.cols / 2, [&](int pair) {
      const int j = pair % half;
      const W c = rotation(position, j), s = direction * rotation(position, half + j);
      const W u = x(r, 2 * pair), v = x(r, 2 * pair + 1);
      x(r, 2 * pair) = u * c - v * s;
      x(r, 2 * pair + 1) = v * c + u * s;
    });
  }
};

}  // namespace moe::kernel
