#pragma once
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// p -= rate * sign(excess), excess = 0. The bias of an overloaded expert falls, that of an
/// underloaded expert rises. The excess is where other leaves have a gradient.
template <class W>
struct ExpertBiasStep {
  const LeafChunk<W>* chunk;
  const StepControl* now;
  W rate;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const LeafChunk<W> c = chunk[r];
    const Row<W> at_p{c.param};
    c.update(group, *now, W(1), [&]<class V>(Lane<V> i, const V& excess) {
      const V value = at_p[i];
      const V up = select(excess < V(W(0)), V(rate), V(W(0)));
      at_p[i] = V(value + select(excess > V(W(0)), V(-rate), up));
    });
  }
};

}  // namespace moe::kernel
