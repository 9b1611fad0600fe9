#pragma once
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// A matrix that Muon updates. Tables of these are in the backend's memory.
template <class W>
struct MuonMatrix {
  W *param, *grad, *momentum;
  const double* grad_square;  // its squared norm, before clipping

  /// True if the update changes the matrix: it is not skipped, and there is a gradient. An expert
  /// without tokens has none. A square below at_rest counts as none: it may be a sum of subnormal
  /// numbers, which some threads flush to 0 and others do not.
  MOE_KERNEL bool moves(const StepControl& now) const {
    return now.skip == 0 && *grad_square >= at_rest<W>;
  }
};

/// Momentum of Muon, and the matrix that is orthogonalized next (`direction`):
///     g = scale * grad,  m += rate * (g - m),  direction = g + look_ahead * (m - g),  grad = 0.
/// look_ahead = 1 - rate gives Nesterov momentum, look_ahead = 1 gives m itself. m and direction
/// are rounded by `settled`. A matrix that does not move has direction 0 and keeps m.
template <class W>
struct Momentum {
  std::ptrdiff_t size;  // elements of a matrix
  const MuonMatrix<W>* matrix;
  W* direction;
  const StepControl* now;
  W rate, look_ahead;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const MuonMatrix<W> of = matrix[c.matrix];
    const std::ptrdiff_t inside = c.first - c.matrix * size;
    const Row<W> at_m{of.momentum + inside}, at_grad{of.grad + inside},
        at_direction{direction + c.first};
    if (!of.moves(*now)) {
      return group.for_each(c.length, [&]<class V>(Lane<V> i) {
        at_grad[i] = V(W(0));
        at_direction[i] = V(W(0));
      });
    }
    const W scale = W(now->grad_scale);
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

/// p = keep * p - step * direction, rounded by `settled`, with step = lr * scale and keep = 1 - lr
/// * weight_decay, where lr is that of this update. A matrix that does not move keeps p.
template <class W>
struct Descend {
  std::ptrdiff_t size;
  const MuonMatrix<W>* matrix;
  const W* direction;
  const StepControl* now;
  double lr, scale, weight_decay;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const MuonMatrix<W> of = matrix[c.matrix];
    if (!of.moves(*now)) return;
    const double rate = lr * now->lr_factor;
    const W keep = W(1 - rate * weight_decay), step = W(rate * scale);
    const Row<W> at_p{of.param + (c.first - c.matrix * size)};
    const Row<const W> at{direction + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V value = at_p[i];
      at_p[i] = settled<W>(V(V(keep) * value - V(step) * at[i]));
    });
  }
};

}  // namespace moe::kernel
