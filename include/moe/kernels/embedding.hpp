#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y = scale * weight[id], or y += scale * weight[id] with `add`. id = ids[r]; if `ids` is null,
/// the position start + r % length. P is the type in which the weight is stored.
template <class W, class T = W, class P = W>
struct EmbeddingForward {
  const int* ids;
  int start, length;
  Table<const P> weight;
  Table<T> y;
  W scale;
  bool add;
  MOE_KERNEL int id(int r) const { return ids ? ids[r] : start + r % length; }
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Row<const P> from = weight[id(r)];
    if (add) {
      group.for_each(y.cols, [&](auto i) { y[r][i] += scale * from[i]; });
    } else {
      group.for_each(y.cols, [&](auto i) { y[r][i] = scale * from[i]; });
    }
  }
};

/// dweight[start + g] += scale * the sum of dy over the rows of segment g.
/// Of tokens, `row` has the rows sorted by token, and segment g those of token g; `length` and
/// `count` are not used. Of positions, `row` is null, and segment g has the row of position g of
/// each of `count` sequences, which have `length` rows.
template <class W, class T = W>
struct EmbeddingGrad {
  const int* row;
  int start, length, count;
  Table<const T> dy;
  Table<W> dweight;
  W scale;
  static constexpr int sums = 1;
  template <class V>
  MOE_KERNEL void add(V* sum, Lane<V> i, int s) const {
    sum[0] = sum[0] + dy[row ? row[s] : s % count * length + s / count][i];
  }
  template <class V>
  MOE_KERNEL void store(const V* sum, Lane<V> i, int g) const {
    dweight[start + g][i] += scale * sum[0];
  }
};

}  // namespace moe::kernel
