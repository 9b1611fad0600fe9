#pragma once
#include <cmath>
#include <cstdint>
#include <moe/core/isa.hpp>
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA {

/// Four random 32-bit words.
struct RandomWords {
  std::uint32_t word[4];
  MOE_KERNEL constexpr std::uint32_t operator[](int i) const { return word[i]; }
};

/// Philox 4x32-10: a bijection of (stream, index), keyed by the seed. It has no state, so every
/// backend and every number of threads draws the same numbers, and nothing has to be stored.
/// Source: Salmon et al. 2011, doi:10.1145/2063384.2063405.  Test: tests/core/random.cpp.
MOE_KERNEL constexpr RandomWords philox(std::uint64_t seed, std::uint64_t stream,
                                        std::uint64_t index) {
  RandomWords c{{std::uint32_t(index), std::uint32_t(index >> 32), std::uint32_t(stream),
                 std::uint32_t(stream >> 32)}};
  std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t(0xD2511F53u) * c.word[0];
    const std::uint64_t b = std::uint64_t(0xCD9E8D57u) * c.word[2];
    c = {{std::uint32_t(b >> 32) ^ c.word[1] ^ k0, std::uint32_t(b),
          std::uint32_t(a >> 32) ^ c.word[3] ^ k1, std::uint32_t(a)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// The purpose of a random number. Each purpose has its own streams, so a new purpose gets a new
/// enumerator here.
enum class RandomStream : std::uint32_t {
  initial_value,
  batch,
  router_noise,
  embedding_dropout,
  attention_dropout,
  attention_output_dropout,
  expert_dropout,
  ffn_output_dropout,
  final_dropout,
  sampling,
  text,
  shared_expert_dropout,
  upcycle,
};

/// The number of the stream of (step, layer, site): 36 bits of step, 16 of layer, 12 of site.
MOE_KERNEL constexpr std::uint64_t stream(std::uint64_t step, std::uint32_t layer,
                                          RandomStream site) {
  return (step << 28) | (std::uint64_t(layer & 0xFFFFu) << 12) | std::uint64_t(site);
}

/// The stream of another step: that of `stream` plus *step. If `step` is null, `stream` itself.
MOE_KERNEL constexpr std::uint64_t at_step(std::uint64_t stream, const std::uint64_t* step) {
  return step ? stream + (*step << 28) : stream;
}

/// Maps 32 random bits to a uniform number in (0, 1), never 0 or 1.
MOE_KERNEL constexpr double uniform(std::uint32_t bits) {
  return (double(bits) + 0.5) / 4294967296.0;
}

/// The `index`-th standard normal number of a stream (Box-Muller, from two random words).
MOE_KERNEL double normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const RandomWords bits = philox(seed, stream, index / 2);
  const int pair = index % 2 == 0 ? 0 : 2;
  return std::sqrt(-2.0 * std::log(uniform(bits[pair]))) *
         std::cos(6.283185307179586476925 * uniform(bits[pair + 1]));
}

/// Inverted dropout at one site. Element `index` is kept with probability 1 - rate, in steps of
/// 1/65536, and then scaled by 1/(1 - rate). With rate 0 everything is kept, at no cost.
struct Dropout {
  double rate = 0;
  std::uint64_t seed = 0, stream = 0;
  const std::uint64_t* step = nullptr;  // in the backend's memory: added to that of the stream

  MOE_KERNEL bool active() const { return rate > 0; }
  MOE_KERNEL double scale() const { return 1 / (1 - rate); }
  /// The same with the step in `stream`.
  MOE_KERNEL Dropout of_step() const { return {rate, seed, at_step(stream, step)}; }
  /// The factor of element `index`: 0 or scale(). Eight elements share one call of the generator.
  MOE_KERNEL double factor(std::uint64_t index) const {
    const std::uint32_t word = philox(seed, at_step(stream, step), index / 8).word[(index % 8) / 2];
    const std::uint32_t bits = index % 2 == 0 ? word & 0xFFFFu : word >> 16;
    return double(bits) < rate * 65536.0 ? 0.0 : scale();
  }
};

/// The factors of elements first + i.index, ... of a lane. SIMD packs have a faster overload.
template <class V>
MOE_KERNEL V dropout_factors(Lane<V> i, const Dropout& d, std::uint64_t first) {
  return V(d.factor(first + std::uint64_t(i.index)));
}

}  // namespace moe
