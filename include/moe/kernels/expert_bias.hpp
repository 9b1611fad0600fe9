#pragma once
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// p -= rate * sign(excess), excess = 0. The bias of an overloaded expert falls, that of an
/// underloaded expert rises.
template <class W>
struct ExpertBiasStep {
  std::ptrdiff_t size;
  W *p, *excess;
  W rate;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<W> at_p{p + c.first}, at{excess + c.first};
    group.for_each(c.length, [&]<class V>(Lane<V> i) {
      const V load = at[i], value = at_p[i];
      const V up = select(load < V(W(0)), V(rate), V(W(0)));
      at_p[i] = V(value + select(load > V(W(0)), V(-rate), up));
      at[i] = V(W(0));
    });
  }
};

}  // namespace moe::kernel
