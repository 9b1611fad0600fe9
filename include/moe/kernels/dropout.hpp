#pragma once
#include <moe/core/lane.hpp>
#include <moe/core/random.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y = m * x, with m = 0 or 1/(1 - rate). The mask m depends on the index of the element only.
template <class T>
struct Drop {
  Table<const T> x;
  Table<T> y;
  Dropout dropout;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const std::uint64_t first = std::uint64_t(r) * std::uint64_t(x.cols);
    group.for_each(x.cols, [&](auto i) {
      const auto mask = dropout_factors(i, dropout, first);
      y[r][i] = mask * x[r][i];
    });
  }
};

/// The residual connection: y = m * y + x. Without dropout y = y + x.
template <class T>
struct DropAdd {
  Table<const T> x;
  Table<T> y;
  Dropout dropout;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    if (!dropout.active()) return group.for_each(x.cols, [&](auto i) { y[r][i] += x[r][i]; });
    const std::uint64_t first = std::uint64_t(r) * std::uint64_t(x.cols);
    group.for_each(x.cols, [&](auto i) {
      const auto mask = dropout_factors(i, dropout, first);
      y[r][i] = mask * y[r][i].value() + x[r][i];
    });
  }
};

}  // namespace moe::kernel
