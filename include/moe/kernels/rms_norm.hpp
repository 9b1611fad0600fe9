#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// y = x * rstd * gain.
template <class W, class T = W>
struct RmsNormApply {
  Table<const T> x;           // (n, dim)
  Table<const W> gain, rstd;  // (1, dim), (n, 1)
  Table<T> y;                 // (n, dim)
  MOE_KERNEL void operator()(const auto& group, int r) const { apply(group, r, rstd(r)); }
  MOE_KERNEL void apply(const auto& group, int r, W s) const {
    group.for_each(x.cols, [&](auto i) { y[r][i] = x[r][i] * s * gain[0][i]; });
  }
};

/// rstd = 1/sqrt(mean(x^2) + eps),  y = x * rstd * gain. One group processes one row.
template <class W, class T = W>
struct RmsNormForward {
  Table<const T> x;     // (n, dim)
  Table<const W> gain;  // (1, dim)
  Table<T> y;           // (n, dim)
  Table<W> rstd;        // (n, 1)
  W eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W square = group.sum(x.cols, [&](auto i) { return x[r][i] * x[r][i]; });
    const W s = W(1) / kernel::sqrt(square / W(x.cols) + eps);
    group.once([&] { rstd(r) = s; });
    RmsNormApply<W, T>{x, gain, rstd, y}.apply(group, r, s);
  }
};

/// dx += rstd * gain * dy - x * rstd^3 * <gain * dy, x> / dim. With `add` = false, dx is
/// overwritten.
template <class W, class T = W>
struct RmsNormBackward {
  Table<const T> x;
  Table<const W> gain, rstd;
  Table<const T> dy;
  Table<T> dx;
  bool add = true;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W s = rstd(r);
    const W dot = group.sum(x.cols, [&](auto i) { return gain[0][i] * dy[r][i] * x[r][i]; });
    const W along_x = dot * s * s * s / W(x.cols);
    const auto gradient = [&](auto i) { return s * gain[0][i] * dy[r][i] - along_x * x[r][i]; };
    if (add) {
      group.for_each(x.cols, [&](auto i) { dx[r][i] += gradient(i); });
    } else {
      group.for_each(x.cols, [&](auto i) { dx[r][i] = gradient(i); });
    }
  }
};

/// dgain += sum over rows of dy * x * rstd.
template <class W, class T = W>
struct RmsNormGainGrad {
  Table<const T> x;
  Table<const W> rstd;
  Table<const T> dy;
  Table<W> dgain;
  static constexpr int sums = 1;
  template <class V>
  MOE_KERNEL void add(V* sum, Lane<V> i, int r) const {
    sum[0] = sum[0] + dy[r][i] * x[r][i] * rstd(r);
  }
  template <class V>
  MOE_KERNEL void store(const V* sum, Lane<V> i, int) const {
    dgain[0][i] += sum[0];
  }
};

}  // namespace moe::kernel
