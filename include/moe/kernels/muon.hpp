#pragma once
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// Momentum of Muon, and the matrix that is orthogonalized next (`direction`):
///     g = scale * grad,  m += rate * (g - m),  direction = g + look_ahead * (m - g),  grad = 0.
/// look_ahead = 1 - rate gives Nesterov momentum, look_ahead = 1 gives m itself. m and direction
/// are rounded by `settled`.
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

/// p = keep * p - step * direction, rounded by `settled`.
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

}  // namespace moe::inline MOE_ISA::kernel
