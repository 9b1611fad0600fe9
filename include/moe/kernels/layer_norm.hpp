#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y = (x - mean) * rstd * gain + bias.   `bias.data` may be null.
template <class W, class T = W>
struct LayerNormApply {
  Table<const T> x;                  // (n, dim)
  Table<const W> gain, bias, stats;  // (1, dim) twice, (n, 2): mean, rstd
  Table<T> y;                        // (n, dim)
  MOE_KERNEL void operator()(const auto& group, int r) const {
    apply(group, r, stats(r, 0), stats(r, 1));
  }
  MOE_KERNEL void apply(const auto& group, int r, W mean, W s) const {
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
template <class W, class T = W>
struct LayerNormForward {
  Table<const T> x;           // (n, dim)
  Table<const W> gain, bias;  // (1, dim) each
  Table<T> y;                 // (n, dim)
  Table<W> stats;             // (n, 2): mean, rstd
  W eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W mean = group.sum(x.cols, [&](auto i) { return x[r][i]; }) / W(x.cols);
    const W square = group.sum(x.cols, [&](auto i) {
      const auto d = x[r][i] - mean;
      return d * d;
    });
    const W s = W(1) / kernel::sqrt(square / W(x.cols) + eps);
    group.once([&] {
      stats(r, 0) = mean;
      stats(r, 1) = s;
    });
    LayerNormApply<W, T>{x, gain, bias, stats, y}.apply(group, r, mean, s);
  }
};

/// dx += rstd * (u - mean(u) - h * mean(u * h)) with h = (x - mean) * rstd and u = gain * dy. With
/// `add` = false, dx is overwritten.
template <class W, class T = W>
struct LayerNormBackward {
  Table<const T> x;
  Table<const W> gain, stats;
  Table<const T> dy;
  Table<T> dx;
  bool add = true;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W mean = stats(r, 0), s = stats(r, 1);
    const W mean_u = group.sum(x.cols, [&](auto i) { return gain[0][i] * dy[r][i]; }) / W(x.cols);
    const W mean_uh = group.sum(x.cols, [&](auto i) {
      return gain[0][i] * dy[r][i] * (x[r][i] - mean) * s;
    }) / W(x.cols);
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
template <class W, class T = W>
struct LayerNormGainGrad {
  Table<const T> x;
  Table<const W> stats;
  Table<const T> dy;
  Table<W> dgain, dbias;
  static constexpr int sums = 2;  // of dgain and of dbias
  template <class V>
  MOE_KERNEL void add(V* sum, Lane<V> i, int r) const {
    sum[0] = sum[0] + dy[r][i] * (x[r][i] - stats(r, 0)) * stats(r, 1);
    sum[1] = sum[1] + dy[r][i];
  }
  template <class V>
  MOE_KERNEL void store(const V* sum, Lane<V> i, int) const {
    dgain[0][i] += sum[0];
    if (dbias.data) dbias[0][i] += sum[1];
  }
};

}  // namespace moe::kernel
