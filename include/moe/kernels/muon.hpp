#pragma once
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// Momentum of Muon, and the matrix that is orthogonalized next (`direction`):
///     g = scale * grad,  m += rate * (g - m),  direction = g + look_ahead * (m - g),  grad = 0.
/// look_ahead = 1 - rate gives Nesterov momentum, look_ahead = 1 gives m itself. m and direction
/// are rounded by `settled`.
template <class W>
struct Momentum {
  std::ptrdiff_t size;
  W *grad, *m, *direction;
  W scale, rate, look_ahead;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<W> at_m{m + c.first}, at_grad{grad + c.first}, at_direction{direction + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V raw = at_grad[i];
      const V g = V(scale) * raw;
      V mean = at_m[i];
      mean = settled<W>(V(mean + V(rate) * (g - mean)));
      at_m[i] = mean;
      at_grad[i] = V(W(0));
      at_direction[i] = settled<W>(V(g + V(look_ahead) * (mean - g)));
    });
  }
};

/// p = keep * p - step * direction, rounded by `settled`.
template <class W>
struct Descend {
  std::ptrdiff_t size;
  W* p;
  const W* direction;
  W keep, step;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<W> at_p{p + c.first};
    const Row<const W> at{direction + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V value = at_p[i];
      at_p[i] = settled<W>(V(V(keep) * value - V(step) * at[i]));
    });
  }
};

}  // namespace moe::kernel
