#pragma once
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// One fused pass of AdamW:
///     g = scale * grad,  m += rate1 * (g - m),  v += rate2 * (g^2 - v),
///     p = keep * p - step * m / (correction * sqrt(v) + eps),  grad = 0.
/// If the new v is below `at_rest` (in float: a gradient with a root mean square below 1e-15), then
/// m = v = 0. m and p are rounded by `settled`. eps must be above 0.
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.  Test: tests/optim/adamw.cpp.
template <class W>
struct AdamW {
  std::ptrdiff_t size;
  W *p, *grad, *m, *v;
  W scale, rate1, rate2, keep, step, correction, eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<W> at_p{p + c.first}, at_m{m + c.first}, at_v{v + c.first}, at_grad{grad + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V raw = at_grad[i];
      const V g = V(scale) * raw;
      V first = at_m[i], second = at_v[i];
      const V value = at_p[i];
      first = first + V(rate1) * (g - first);
      second = second + V(rate2) * (g * g - second);
      const V none = V(W(0));
      const auto still = second < V(W(at_rest<W>));
      first = select(still | rests<W>(first), none, first);
      second = select(still, none, second);
      at_m[i] = first;
      at_v[i] = second;
      at_grad[i] = none;
      at_p[i] = settled<W>(
          V(V(keep) * value - V(step) * (first / (V(correction) * sqrt(second) + V(eps)))));
    });
  }
};

}  // namespace moe::kernel
