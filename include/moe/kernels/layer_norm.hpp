#pragma once
#include <moe/kernel.hpp>

namespace moe::kernel {

/// y = (x - mean) * rstd * gain + bias,  rstd = 1/sqrt(mean((x - mean)^2) + eps).
/// `bias.data` may be null.
template <class T>
struct LayerNormForward {
  Table<const T> x, gain, bias;  // (n, dim), (1, dim), (1, dim)
  Table<T> y, stats;             // (n, dim), (n, 2): mean, rstd
  T eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T mean = group.sum(x.cols, [&](auto i) { return x[r][i]; }) / T(x.cols);
    const T square = group.sum(x.cols, [&](auto i) {
      const auto d = x[r][i] - mean;
      return d * d;
    });
    const T s = T(1) / sqrt(square / T(x.cols) + eps);
    stats(r, 0) = mean;
    stats(r, 1) = s;
    if (bias.data) {
      group.for_each(x.cols,
                     [&](auto i) { y[r][i] = (x[r][i] - mean) * s * gain[0][i] + bias[0][i]; });
    } else {
      group.for_each(x.cols, [&](auto i) { y[r][i] = (x[r][i] - mean) * s * gain[0][i]; });
    }
  }
};

/// With h = (x - mean) * rstd and u = gain * dy:  dx += rstd * (u - mean(u) - h * mean(u * h)).
template <class T>
struct LayerNormBackward {
  Table<const T> x, gain, stats, dy;
  Table<T> dx;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T mean = stats(r, 0), s = stats(r, 1);
    const T mean_u = group.sum(x.cols, [&](auto i) { return gain[0][i] * dy[r][i]; }) / T(x.cols);
    const T mean_uh = group.sum(x.cols, [&](auto i) {
      return gain[0][i] * dy[r][i] * (x[r][i] - mean) * s;
    }) / T(x.cols);
    group.for_each(x.cols, [&](auto i) {
      dx[r][i] += s * (gain[0][i] * dy[r][i] - mean_u - (x[r][i] - mean) * s * mean_uh);
    });
  }
};

/// dgain += sum over rows of dy * h,  dbias += sum over rows of dy.
template <class T>
struct LayerNormGainGrad {
  int count;
  Table<const T> x, stats, dy;
  Table<T> dgain, dbias;
  template <class V>
  MOE_KERNEL void operator()(Lane<V> i) const {
    V gain(T(0)), bias(T(0));
    for (int r = 0; r < count; ++r) {
      gain = gain + dy[r][i] * (x[r][i] - stats(r, 0)) * stats(r, 1);
      bias = bias + dy[r][i];
    }
    dgain[0][i] += gain;
    if (dbias.data) dbias[0][i] += bias;
  }
};

}  // namespace moe::kernel
