#pragma once
#include <moe/kernel.hpp>

namespace moe::kernel {

/// rstd = 1/sqrt(mean(x^2) + eps),  y = x * rstd * gain.   One group works on one row.
template <class T>
struct RmsNormForward {
  Table<const T> x, gain;  // (n, dim), (1, dim)
  Table<T> y, rstd;        // (n, dim), (n, 1)
  T eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T square = group.sum(x.cols, [&](auto i) { return x[r][i] * x[r][i]; });
    const T s = T(1) / sqrt(square / T(x.cols) + eps);
    rstd(r) = s;
    group.for_each(x.cols, [&](auto i) { y[r][i] = x[r][i] * s * gain[0][i]; });
  }
};

/// dx += rstd * g * dy - x * rstd^3 * <g * dy, x> / dim.
template <class T>
struct RmsNormBackward {
  Table<const T> x, gain, rstd, dy;
  Table<T> dx;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T s = rstd(r);
    const T dot = group.sum(x.cols, [&](auto i) { return gain[0][i] * dy[r][i] * x[r][i]; });
    const T along_x = dot * s * s * s / T(x.cols);
    group.for_each(x.cols,
                   [&](auto i) { dx[r][i] += s * gain[0][i] * dy[r][i] - along_x * x[r][i]; });
  }
};

/// dgain += sum over rows of dy * x * rstd.   One lane owns a column, so the order never changes.
template <class T>
struct RmsNormGainGrad {
  int count;
  Table<const T> x, rstd, dy;
  Table<T> dgain;
  template <class V>
  MOE_KERNEL void operator()(Lane<V> i) const {
    V sum(T(0));
    for (int r = 0; r < count; ++r) sum = sum + dy[r][i] * x[r][i] * rstd(r);
    dgain[0][i] += sum;
  }
};

}  // namespace moe::kernel
