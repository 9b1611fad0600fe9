#pragma once
#include <cstddef>
#include <moe/core/lane.hpp>
#include <type_traits>

// Element-wise passes over parameters. A leaf is cut into chunks of fixed length that start anew at
// each of its matrices; one group works on one chunk, so no result depends on how many threads run.

namespace moe::kernel {

/// Elements of one chunk: a sum over so few keeps float accurate; the rest is added in double.
inline constexpr int chunk = 1024;

/// Chunks of a matrix of `size` elements.
MOE_KERNEL constexpr int chunks(std::ptrdiff_t size) {
  return int((size + chunk - 1) / chunk);
}

/// Chunk r of equally large matrices that lie one after the other.
struct Chunk {
  int matrix, length;
  std::ptrdiff_t first;

  MOE_KERNEL Chunk(std::ptrdiff_t size, int r) : matrix(r / chunks(size)) {
    const std::ptrdiff_t inside = std::ptrdiff_t(r % chunks(size)) * chunk;
    first = matrix * size + inside;
    length = int(size - inside < chunk ? size - inside : chunk);
  }
};

/// What an update writes is at least this large or exactly 0. Averages that get no gradient any
/// more would otherwise decay to denormal numbers, which cost a hundred cycles each, and whose bits
/// depend on whether the thread flushes them, which a program linked with -ffast-math switches on
/// for some threads only. For float and double 2^26 and 2^55 times the smallest normal number: what
/// is lost when an intermediate result is flushed is then below half a last place of any number
/// that stays, so that the bits are the same in both modes.
template <class T>
inline constexpr double at_rest = std::is_same_v<T, float> ? 0x1p-100 : 0x1p-967;

/// Whether |x| is below at_rest, for every lane.
template <class T, class V>
MOE_KERNEL auto rests(const V& x) {
  return (x < V(T(at_rest<T>))) & (x > V(T(-at_rest<T>)));
}
/// x, or 0 where it rests.
template <class T, class V>
MOE_KERNEL V settled(const V& x) {
  return select(rests<T>(x), V(T(0)), x);
}

}  // namespace moe::kernel
