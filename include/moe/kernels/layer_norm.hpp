#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y = (x - mean) * rstd * gain + bias.   `bias.data` may be null.
template <class T, class S = T>
struct LayerNormApply {
  Table<const S> x;                  // (n, dim)
  Table<const T> gain, bias, stats;  // (1, dim) twice, (n, 2): mean, rstd
  Table<S> y;                        // (n, dim)
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T mean = stats(r, 0), s = stats(r, 1);
    if (bias.data) {
      group.for_each(x.cols,
                     [&](auto i) { y[r][i] = (x[r][i] - mean) * s * gain[0][i] + bias[0][i]; });
    } else {
      group.for_each(x.cols, [&](auto i) { y[r][i] = (x[r][i] - mean) * s * gain[0][i]; });
    }
  }
};

/// y = (x - mean) * rstd * gain + bias,  rstd = 1/sqrt(mean((x - mean)^2) + eps).
/// `bias.data` may be null.
template <class T, class S = T>
struct LayerNormForward {
  Table<const S> x;           // (n, dim)
  Table<const T> gain, bias;  // (1, dim) each
  Table<S> y;                 // (n, dim)
  Table<T> stats;             // (n, 2): mean, rstd
  T eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T mean = group.sum(x.cols, [&](auto i) { return x[r][i]; }) / T(x.cols);
    const T square = group.sum(x.cols, [&](auto i) {
      const auto d = x[r][i] - mean;
      return d * d;
    });
    stats(r, 0) = mean;
    stats(r, 1) = T(1) / kernel::sqrt(square / T(x.cols) + eps);
    LayerNormApply<T, S>{x, gain, bias, stats, y}(group, r);
  }
};

/// dx += rstd * (u - mean(u) - h * mean(u * h)) with h = (x - mean) * rstd and u = gain * dy. With
/// `add` = false, dx is overwritten.
template <class T, class S = T>
struct LayerNormBackward {
  Table<const S> x;
  Table<const T> gain, stats;
  Table<const S> dy;
  Table<S> dx;
  bool add = true;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const T mean = stats(r, 0), s = stats(r, 1);
    const T mean_u = group.sum(x.cols, [&](auto i) { return gain[0][i] * dy[r][i]; }) / T(x.cols);
    const T mean_uh = group.sum(x.cols, [&](auto i) {
      return gain[0][i] * dy[r][i] * (x[r][i] - mean) * s;
    }) / T(x.cols);
    const auto gradient = [&](auto i) {
      return s * (gain[0][i] * dy[r][i] - mean_u - (x[r][i] - mean) * s * mean_uh);
    };
    if (add) {
      group.for_each(x.cols, [&](auto i) { dx[r][i] += gradient(i); });
    } else {
      group.for_each(x.cols, [&](auto i) { dx[r][i] = gradient(i); });
    }
  }
};

/// dgain += sum over rows of dy * h,  dbias += sum over rows of dy, with h = (x - mean) * rstd.
/// `dbias.data` may be null.
template <class T, class S = T>
struct LayerNormGainGrad {
  int count;
  Table<const S> x;
  Table<const T> stats;
  Table<const S> dy;
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

}  // namespace moe::inline MOE_ISA::kernel
