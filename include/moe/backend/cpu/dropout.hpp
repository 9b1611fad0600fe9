#pragma once
#include <cmath>
#include <cstdint>
#include <moe/backend/cpu/simd/lanes.hpp>
#include <moe/core/random.hpp>

// Dropout::factor for many elements at once, with the same results.

namespace moe::inline MOE_ISA {
namespace detail {

/// Turns 16 random bits into a dropout factor. `word` holds the bits of two elements.
template <class T>
struct DropoutThreshold {
  explicit DropoutThreshold(const Dropout& d)
      : kept(T(d.scale())), threshold(std::uint32_t(std::ceil(d.rate * 65536.0))) {}
  T operator()(std::uint32_t word, int element) const {
    return ((word >> (element % 2 * 16)) & 0xFFFFu) < threshold ? T(0) : kept;
  }
  T kept;
  std::uint32_t threshold;
};

/// philox(seed, stream, index[l]) for all l. Word w of the result for index[l] is stored in
/// word[w][l].
template <int Lanes>
inline void philox_lanes(std::uint64_t seed, std::uint64_t stream,
                         const std::uint64_t (&index)[Lanes], std::uint32_t (&word)[4][Lanes]) {
  for (int l = 0; l < Lanes; ++l) {
    word[0][l] = std::uint32_t(index[l]);
    word[1][l] = std::uint32_t(index[l] >> 32);
    word[2][l] = std::uint32_t(stream);
    word[3][l] = std::uint32_t(stream >> 32);
  }
  std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 1
    for (int l = 0; l < Lanes; ++l) {  // to be vectorized, not unrolled
      const std::uint64_t a = std::uint64_t(0xD2511F53u) * word[0][l];
      const std::uint64_t b = std::uint64_t(0xCD9E8D57u) * word[2][l];
      word[0][l] = std::uint32_t(b >> 32) ^ word[1][l] ^ k0;
      word[1][l] = std::uint32_t(b);
      word[2][l] = std::uint32_t(a >> 32) ^ word[3][l] ^ k1;
      word[3][l] = std::uint32_t(a);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

}  // namespace detail

/// The dropout factors of elements first + i.index, ... of a lane.
template <class T, class A>
inline xsimd::batch<T, A> dropout_factors(Lane<xsimd::batch<T, A>> i, const Dropout& d,
                                          std::uint64_t first) {
  constexpr int width = int(xsimd::batch<T, A>::size);
  const detail::DropoutThreshold<T> factor(d);
  const std::uint64_t index = first + std::uint64_t(i.index);
  const std::uint64_t stream = d.of_step().stream;
  const int phase = int(index % 8);
  T all[width + 16];
  for (int l = 0; l < phase + width; l += 8) {
    const RandomWords words = philox(d.seed, stream, (index + std::uint64_t(l)) / 8);
    for (int e = 0; e < 8; ++e) all[l + e] = factor(words.word[e / 2], e);
  }
  return xsimd::batch<T, A>::load_unaligned(all + phase);
}

}  // namespace moe
