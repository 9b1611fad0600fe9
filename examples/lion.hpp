#pragma once
#include <moe/moe.hpp>

// An optimizer of one's own: no line of the library changes. Lion updates every weight by the same
// amount, in the direction of a moving average of the gradient.

// u = sign(lerp(m, g, rate1)),  p = keep * p - rate * u,  m = lerp(m, g, rate2),  grad = 0, where
// rate is that of this update and keep = 1 - rate * weight_decay.
template <class T>
struct LionStep {
  const moe::kernel::LeafChunk<T>* chunk;
  const moe::kernel::StepControl* now;
  double lr, weight_decay;
  T rate1, rate2;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    using moe::select;
    const moe::kernel::LeafChunk<T> c = chunk[r];
    const moe::Row<T> at_p{c.param}, at_m = c.state(0);
    const T rate = T(lr * now->lr_factor), keep = T(1 - lr * now->lr_factor * weight_decay);
    c.update(group, *now, T(now->grad_scale), [&]<class V>(moe::Lane<V> i, const V& g) {
      const V mean = at_m[i], value = at_p[i], none = V(T(0)), u = mean + V(rate1) * (g - mean);
      const V down = select(u > none, V(rate), select(u < none, V(-rate), none));
      at_p[i] = moe::kernel::settled<T>(V(V(keep) * value - down));
      at_m[i] = moe::kernel::settled<T>(V(mean + V(rate2) * (g - mean)));
    });
  }
};

// Lion on matrices. Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
struct LionRule {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.99, weight_decay = 1;

  static constexpr std::array<std::string_view, 1> states{"lion"};
  static constexpr bool takes(moe::Role role) { return moe::decays(role); }

  template <class B>
  void update(B& be, const moe::RuleUpdate<moe::Wide<B>>& u) const {
    using T = moe::Wide<B>;
    be.rows(u.chunks,
            LionStep<T>{u.chunk, u.control, lr, weight_decay, T(1 - beta1), T(1 - beta2)});
  }
};

template <class Model>
using Lion = moe::Optimizer<Model, moe::ExpertBiasRule, LionRule, moe::AdamWRule>;
