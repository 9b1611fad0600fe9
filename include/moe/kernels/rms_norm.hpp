#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y = x * rstd * gain.
template <class T, class S = T>
struct RmsNormApply {
  Table<const S> x;           // (n, dim)
  Table<const T> gain, rstd;  // (1, dim), (n, 1)
  Table<S> y;                 // (n, dim)
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T s = rstd(r);
    group.for_each(x.cols, [&](auto i) { y[r][i] = x[r][i] * s * gain[0][i]; });
  }
};

/// rstd = 1/sqrt(mean(x^2) + eps),  y = x * rstd * gain. One group processes one row.
template <class T, class S = T>
struct RmsNormForward {
  Table<const S> x;     // (n, dim)
  Table<const T> gain;  // (1, dim)
  Table<S> y;           // (n, dim)
  Table<T> rstd;        // (n, 1)
  T eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T square = group.sum(x.cols, [&](auto i) { return x[r][i] * x[r][i]; });
    rstd(r) = T(1) / kernel::sqrt(square / T(x.cols) + eps);
    RmsNormApply<T, S>{x, gain, rstd, y}(group, r);
  }
};

/// dx += rstd * gain * dy - x * rstd^3 * <gain * dy, x> / dim. With `add` = false, dx is
/// overwritten.
template <class T, class S = T>
struct RmsNormBackward {
  Table<const S> x;
  Table<const T> gain, rstd;
  Table<const S> dy;
  Table<S> dx;
  bool add = true;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T s = rstd(r);
    const T dot = group.sum(x.cols, [&](auto i) { return gain[0][i] * dy[r][i] * x[r][i]; });
    const T along_x = dot * s * s * s / T(x.cols);
    const auto gradient = [&](auto i) { return s * gain[0][i] * dy[r][i] - along_x * x[r][i]; };
    if (add) {
      group.for_each(x.cols, [&](auto i) { dx[r][i] += gradient(i); });
    } else {
      group.for_each(x.cols, [&](auto i) { dx[r][i] = gradient(i); });
    }
  }
};

/// dgain += sum over rows of dy * x * rstd. Each lane processes one column, so the order of the sum
/// is fixed.
template <class T, class S = T>
struct RmsNormGainGrad {
  int count;
  Table<const S> x;
  Table<const T> rstd;
  Table<const S> dy;
  Table<T> dgain;
  template <class V>
  MOE_KERNEL void operator()(Lane<V> i) const {
    V sum(T(0));
    for (int r = 0; r < count; ++r) sum = sum + dy[r][i] * x[r][i] * rstd(r);
    dgain[0][i] += sum;
  }
};

}  // namespace moe::inline MOE_ISA::kernel
