#pragma once
#include <moe/kernel.hpp>

// Element-wise passes over parameters. A leaf is cut into chunks of fixed length that start anew at
// each of its matrices; one group works on one chunk, so no result depends on how many threads run.

namespace moe::kernel {

/// Elements of one chunk: a sum over so few keeps float accurate; the rest is added in double.
inline constexpr int chunk = 1024;

/// Chunks of a matrix of `size` elements.
MOE_KERNEL constexpr int chunks(std::ptrdiff_t size) {
  return int((size + chunk - 1) / chunk);
}

/// Chunk r of equally large matrices that lie one after the other.
struct Chunk {
  int matrix, length;
  std::ptrdiff_t first;

  MOE_KERNEL Chunk(std::ptrdiff_t size, int r) : matrix(r / chunks(size)) {
    const std::ptrdiff_t inside = std::ptrdiff_t(r % chunks(size)) * chunk;
    first = matrix * size + inside;
    length = int(size - inside < chunk ? size - inside : chunk);
  }
};

/// What an update writes is at least this large or exactly 0. Averages that get no gradient any
/// more would otherwise decay to denormal numbers, which cost a hundred cycles each, and whose bits
/// depend on whether the thread flushes them, which a program linked with -ffast-math switches on
/// for some threads only. For float and double 2^26 and 2^55 times the smallest normal number: what
/// is lost when an intermediate result is flushed is then below half a last place of any number
/// that stays, so that the bits are the same in both modes.
template <class T>
inline constexpr double at_rest = std::is_same_v<T, float> ? 0x1p-100 : 0x1p-967;

/// Whether |x| is below at_rest, for every lane.
template <class T, class V>
MOE_KERNEL auto rests(const V& x) {
  return (x < V(T(at_rest<T>))) & (x > V(T(-at_rest<T>)));
}
/// x, or 0 where it rests.
template <class T, class V>
MOE_KERNEL V settled(const V& x) {
  return select(rests<T>(x), V(T(0)), x);
}

/// partial[r] = sum of x^2 over chunk r.   `size` elements a matrix.
template <class T>
struct NormSquare {
  std::ptrdiff_t size;
  const T* x;
  T* partial;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<const T> row{x + c.first};
    partial[r] = group.sum(c.length, [&]<class V>(Lane<V> i) {
      const V value = row[i];
      return V(value * value);
    });
  }
};

/// One fused pass of AdamW:  g = scale * grad,  m += rate1 (g - m),  v += rate2 (g^2 - v),
/// p = keep * p - step * m / (correction * sqrt(v) + eps),  grad = 0.   Where v would be below
/// at_rest (a gradient whose root mean square is below 1e-15) m = v = 0; m and p are settled.
/// eps must be above 0.
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.  Test: tests/optim/adamw.cpp.
template <class T>
struct AdamW {
  std::ptrdiff_t size;
  T *p, *grad, *m, *v;
  T scale, rate1, rate2, keep, step, correction, eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<T> at_p{p + c.first}, at_m{m + c.first}, at_v{v + c.first}, at_grad{grad + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V raw = at_grad[i];
      const V g = V(scale) * raw;
      V first = at_m[i], second = at_v[i];
      const V value = at_p[i];
      first = first + V(rate1) * (g - first);
      second = second + V(rate2) * (g * g - second);
      const V none = V(T(0));
      const auto still = second < V(T(at_rest<T>));
      first = select(still | rests<T>(first), none, first);
      second = select(still, none, second);
      at_m[i] = first;
      at_v[i] = second;
      at_grad[i] = none;
      at_p[i] = settled<T>(
          V(V(keep) * value - V(step) * (first / (V(correction) * sqrt(second) + V(eps)))));
    });
  }
};

/// g = scale * grad,  m += rate (g - m),  grad = 0,  direction = what Muon orthogonalises:
/// g + look_ahead (m - g), which is Nesterov's point for look_ahead = 1 - rate and m itself for 1.
/// m and direction are settled.
template <class T>
struct Momentum {
  std::ptrdiff_t size;
  T *grad, *m, *direction;
  T scale, rate, look_ahead;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<T> at_m{m + c.first}, at_grad{grad + c.first}, at_direction{direction + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V raw = at_grad[i];
      const V g = V(scale) * raw;
      V mean = at_m[i];
      mean = settled<T>(V(mean + V(rate) * (g - mean)));
      at_m[i] = mean;
      at_grad[i] = V(T(0));
      at_direction[i] = settled<T>(V(g + V(look_ahead) * (mean - g)));
    });
  }
};

/// p = keep * p - step * direction, settled.
template <class T>
struct Descend {
  std::ptrdiff_t size;
  T* p;
  const T* direction;
  T keep, step;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<T> at_p{p + c.first};
    const Row<const T> at{direction + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V value = at_p[i];
      at_p[i] = settled<T>(V(V(keep) * value - V(step) * at[i]));
    });
  }
};

/// p -= rate * sign(excess): the bias of an overloaded expert falls, of an idle one rises.
/// excess = 0.
template <class T>
struct BalanceStep {
  std::ptrdiff_t size;
  T *p, *excess;
  T rate;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<T> at_p{p + c.first}, at{excess + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V load = at[i], value = at_p[i];
      const V up = select(load < V(T(0)), V(rate), V(T(0)));
      at_p[i] = V(value + select(load > V(T(0)), V(-rate), up));
      at[i] = V(T(0));
    });
  }
};

}  // namespace moe::kernel
