#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y += x.
template <class T>
struct Add {
  Table<const T> x;
  Table<T> y;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each(x.cols, [&](auto i) { y[r][i] += x[r][i]; });
  }
};

}  // namespace moe::kernel
