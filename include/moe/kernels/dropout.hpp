#pragma once
#include <moe/core/lane.hpp>
#include <moe/core/random.hpp>

namespace moe::kernel {

/// y = m * x, m = 0 or 1/(1 - rate): the mask is a function of the element's number alone.
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

/// y = m * y + x: the residual connection. Without dropout y = y + x.
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
