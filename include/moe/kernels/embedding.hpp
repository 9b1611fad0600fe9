#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y = scale * weight[id], or y += scale * weight[id] with `add`. id = ids[r]; if `ids` is null,
/// the position start + r % length.
template <class W, class T = W>
struct EmbeddingForward {
  const int* ids;
  int start, length;
  Table<const W> weight;
  Table<T> y;
  W scale;
  bool add;
  MOE_KERNEL int id(int r) const { return ids ? ids[r] : start + r % length; }
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Row<const W> from = weight[id(r)];
    if (add) {
      group.for_each(y.cols, [&](auto i) { y[r][i] += scale * from[i]; });
    } else {
      group.for_each(y.cols, [&](auto i) { y[r][i] = scale * from[i]; });
    }
  }
};

/// dweight[id] += scale * dy. Each lane processes one column of all rows, so no two threads write
/// one element.
template <class W, class T = W>
struct EmbeddingGrad {
  int count;
  const int* ids;
  int start, length;
  Table<const T> dy;
  Table<W> dweight;
  W scale;
  template <class V>
  MOE_KERNEL void operator()(Lane<V> i) const {
    for (int r = 0; r < count; ++r)
      dweight[ids ? ids[r] : start + r % length][i] += scale * dy[r][i];
  }
};

}  // namespace moe::kernel
