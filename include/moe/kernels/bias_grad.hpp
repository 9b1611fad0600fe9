#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// dbias[g] += sum over the slots s of segment g of scale(s) * dy[row[s]].
/// Null pointers have defaults: `row[s]` = s, `scale` = 1.
template <class W, class T = W>
struct BiasGrad {
  const int* row;
  Table<const W> scale;
  Table<const T> dy;
  Table<W> dbias;
  static constexpr int sums = 1;
  template <class V>
  MOE_KERNEL void add(V* sum, Lane<V> i, int s) const {
    const V value = dy[row ? row[s] : s][i];
    sum[0] = sum[0] + (scale.data ? value * scale(s) : value);
  }
  template <class V>
  MOE_KERNEL void store(const V* sum, Lane<V> i, int g) const {
    dbias[g][i] += sum[0];
  }
};

}  // namespace moe::kernel
