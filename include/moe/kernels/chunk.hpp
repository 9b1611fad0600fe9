#pragma once
#include <cstddef>
#include <moe/core/lane.hpp>
#include <moe/kernels/step_control.hpp>
#include <type_traits>

// Chunks for element-wise passes over parameters. A leaf is divided into chunks of fixed length,
// which start anew at each of its matrices. One group processes one chunk, so results do not depend
// on the number of threads.

namespace moe::inline MOE_ISA::kernel {

/// Elements in one chunk: few enough for a sum in float to stay accurate. The sums of the chunks
/// are added in double.
inline constexpr int chunk = 1024;

/// The number of chunks in a matrix of `size` elements.
MOE_KERNEL constexpr int chunks(std::ptrdiff_t size) {
  return int((size + chunk - 1) / chunk);
}

/// Chunk r of a stack of matrices, contiguous, with `size` elements each.
struct Chunk {
  int matrix, length;
  std::ptrdiff_t first;

  MOE_KERNEL Chunk(std::ptrdiff_t size, int r) : matrix(r / chunks(size)) {
    const std::ptrdiff_t inside = std::ptrdiff_t(r % chunks(size)) * chunk;
    first = matrix * size + inside;
    length = int(size - inside < chunk ? size - inside : chunk);
  }
};

/// Updates write exactly 0 for a number whose magnitude is below this. Otherwise the averages of a
/// parameter that no longer gets a gradient would decay to subnormal numbers. Arithmetic on these
/// costs about 100 cycles, and its bits depend on whether the thread flushes subnormals to 0; a
/// program linked with -ffast-math turns flushing on for some of its threads only.
/// The threshold is 2^26 (float) and 2^55 (double) times the smallest normal number. With this
/// distance, flushing an intermediate result changes any number that is kept by less than half a
/// unit in the last place, so both floating-point modes give the same bits.
template <class W>
inline constexpr double at_rest = std::is_same_v<W, float> ? 0x1p-100 : 0x1p-967;

/// True in the lanes where |x| is below at_rest.
template <class W, class V>
MOE_KERNEL auto rests(const V& x) {
  return (x < V(W(at_rest<W>))) & (x > V(W(-at_rest<W>)));
}
/// x, or 0 in the lanes where |x| is below at_rest.
template <class W, class V>
MOE_KERNEL V settled(const V& x) {
  return select(rests<W>(x), V(W(0)), x);
}

/// Up to `chunk` numbers of one matrix, their gradients and the states that a rule keeps of them.
/// Tables of these are in the backend's memory, so that one launch updates all leaves of a rule.
template <class W>
struct LeafChunk {
  W *param, *grad, *states;
  std::ptrdiff_t state_stride;  // distance between two states, in numbers
  int length;
  bool decays;  // whether weight decay applies

  MOE_KERNEL Row<W> state(int i) const { return {states + i * state_stride}; }

  /// Calls f(lane, scale * gradient) for all numbers and sets the gradient to 0. If the update is
  /// skipped, it only does the latter.
  template <class F>
  MOE_KERNEL void update(const auto& group, const StepControl& step, W scale, const F& f) const {
    const Row<W> at_grad{grad};
    if (step.skip) return group.for_each(length, [&]<class V>(Lane<V> i) { at_grad[i] = V(W(0)); });
    group.for_each(length, [&]<class V>(Lane<V> i) {
      const V raw = at_grad[i];
      f(i, V(V(scale) * raw));
      at_grad[i] = V(W(0));
    });
  }
};

}  // namespace moe::kernel
