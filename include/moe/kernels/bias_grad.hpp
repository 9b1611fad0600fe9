#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// dbias[g] += sum over the slots s of group g of scale(s) * dy[row[s]], in slot order.
/// Null pointers have defaults: `row[s]` = s, `scale` = 1, and one group of `count` rows for
/// `offset`.
template <class W, class T = W>
struct BiasGrad {
  int groups, count;
  const int* offset;
  const int* row;
  Table<const W> scale;
  Table<const T> dy;
  Table<W> dbias;
  template <class V>
  MOE_KERNEL void operator()(Lane<V> i) const {
    for (int g = 0; g < groups; ++g) {
      V sum(W(0));
      const int end = offset ? offset[g + 1] : count;
      for (int s = offset ? offset[g] : 0; s < end; ++s) {
        const V value = dy[row ? row[s] : s][i];
        sum = sum + (scale.data ? value * scale(s) : value);
      }
      dbias[g][i] += sum;
    }
  }
};

}  // namespace moe::kernel
