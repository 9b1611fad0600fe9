#pragma once
#include <cmath>
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// The factors of AdamW that change from update to update, in the backend's memory.
struct AdamWFactors {
  double keep;        // what weight decay leaves of a parameter: 1 - rate * weight_decay
  double step;        // rate / (1 - beta1^t)
  double correction;  // 1 / sqrt(1 - beta2^t)
};

/// Computes these factors for update t. Launched for one row.
struct AdamWPrepare {
  const StepControl* now;
  AdamWFactors* factors;
  double lr, beta1, beta2, weight_decay;
  static constexpr bool one_lane = true;
  MOE_KERNEL void operator()(const auto&, int) const {
    if (now->skip) return;
    const double rate = lr * now->lr_factor, t = double(now->updates);
    factors->keep = 1 - rate * weight_decay;
    factors->step = rate / (1 - std::pow(beta1, t));
    factors->correction = 1 / std::sqrt(1 - std::pow(beta2, t));
  }
};

/// One fused pass of AdamW over chunk r of a table:
///     g = scale * grad,  m += rate1 * (g - m),  v += rate2 * (g^2 - v),
///     p = keep * p - step * m / (correction * sqrt(v) + eps),  grad = 0.
/// If the new v is below `at_rest` (in float: a gradient with a root mean square below 1e-15), then
/// m = v = 0. m and p are rounded by `settled`. eps must be above 0.
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.  Test: tests/optim/adamw.cpp.
template <class W>
struct AdamW {
  const LeafChunk<W>* chunk;
  const StepControl* now;
  const AdamWFactors* factors;
  W rate1, rate2, eps;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const LeafChunk<W> c = chunk[r];
    const Row<W> at_p{c.param}, at_m = c.state(0), at_v = c.state(1);
    const W keep = W(c.decays ? factors->keep : 1), step = W(factors->step),
            correction = W(factors->correction);
    c.update(group, *now, W(now->grad_scale), [&]<class V>(Lane<V> i, const V& g) {
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
      at_p[i] = settled<W>(
          V(V(keep) * value - V(step) * (first / (V(correction) * kernel::sqrt(second) + V(eps)))));
    });
  }
};

}  // namespace moe::kernel
