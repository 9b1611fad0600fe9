#pragma once
#include <moe/kernels/chunk.hpp>

namespace moe::inline MOE_ISA::kernel {

/// partial[r] = sum of x^2 over chunk r. A matrix has `size` elements.
template <class W>
struct NormSquare {
  std::ptrdiff_t size;
  const W* x;
  W* partial;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const Chunk c(size, r);
    const Row<const W> row{x + c.first};
    partial[r] = group.sum(c.length, [&]<class V>(Lane<V> i) {
      const V value = row[i];
      return V(value * value);
    });
  }
};

}  // namespace moe::kernel
