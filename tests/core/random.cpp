#include <cmath>
#include <cstdint>
#include <moe/core/random.hpp>
#include <vector>

#include "catch.hpp"

namespace {

using namespace moe;

bool equal(const RandomWords& a, std::uint32_t w0, std::uint32_t w1, std::uint32_t w2,
           std::uint32_t w3) {
  return a[0] == w0 && a[1] == w1 && a[2] == w2 && a[3] == w3;
}

// Random123's kat_vectors, philox4x32 with 10 rounds: counter words 0 and 1 are our index, 2 and 3
// our stream, the key is our seed.
TEST_CASE("philox: gives the known answers of Random123", "[external]") {
  CHECK(equal(philox(0, 0, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  const std::uint64_t ones = ~std::uint64_t(0);
  CHECK(equal(philox(ones, ones, ones), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  CHECK(equal(philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88), 0xd16cfe09,
              0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST_CASE("stream: every step, layer and RandomStream has a stream of its own", "[edge]") {
  CHECK(stream(0, 0, RandomStream::batch) != stream(0, 1, RandomStream::initial_value));
  CHECK(stream(0, 0xFFFF, RandomStream::text) < stream(1, 0, RandomStream::initial_value));
  CHECK(stream(0, 0, RandomStream::text) < stream(0, 1, RandomStream::initial_value));
  CHECK(stream((std::uint64_t(1) << 36) - 1, 0xFFFF, RandomStream(0xFFF)) == ~std::uint64_t(0));
}

TEST_CASE("uniform: is never 0 and never 1", "[edge]") {
  CHECK(uniform(0) > 0);
  CHECK(uniform(0xFFFFFFFFu) < 1);
  CHECK(uniform(0x80000000u) > 0.5);
  CHECK(uniform(0x7FFFFFFFu) < 0.5);
}

TEST_CASE("normal: the first four moments and the correlation of neighbours", "[statistics]") {
  const int n = 200000;
  double power[5] = {}, neighbours = 0, previous = 0;
  for (int i = 0; i < n; ++i) {
    const double x = normal(11, stream(0, 0, RandomStream::initial_value), std::uint64_t(i));
    double p = 1;
    for (double& sum : power) {
      sum += p / n;
      p *= x;
    }
    neighbours += x * previous / n;
    previous = x;
  }
  // Four standard deviations of each mean.
  CHECK(std::abs(power[1]) < 4 * std::sqrt(1.0 / n));
  CHECK(std::abs(power[2] - 1) < 4 * std::sqrt(2.0 / n));
  CHECK(std::abs(power[3]) < 4 * std::sqrt(15.0 / n));
  CHECK(std::abs(power[4] - 3) < 4 * std::sqrt(96.0 / n));
  CHECK(std::abs(neighbours) < 4 * std::sqrt(1.0 / n));
}

TEST_CASE("normal: seed, stream and index each change the number", "[edge]") {
  const double x = normal(1, 2, 3);
  CHECK(x == normal(1, 2, 3));
  CHECK(x != normal(2, 2, 3));
  CHECK(x != normal(1, 3, 3));
  CHECK(x != normal(1, 2, 2));
  CHECK(x != normal(1, 2, 4));
}

TEST_CASE("Dropout: drops its rate and scales what it keeps, so that the mean stays",
          "[statistics]") {
  const int n = 100000;
  for (const double rate : {0.1, 0.5, 0.9}) {
    const Dropout dropout{rate, 4, stream(7, 2, RandomStream::ffn_output_dropout)};
    int dropped = 0;
    bool other_value = false;
    for (int i = 0; i < n; ++i) {
      const double factor = dropout.factor(std::uint64_t(i));
      dropped += factor == 0;
      other_value = other_value || (factor != 0 && factor != 1 / (1 - rate));
    }
    CHECK(!other_value);
    CHECK(std::abs(dropped - rate * n) < 4 * std::sqrt(n * rate * (1 - rate)));
  }
}

TEST_CASE("Dropout: the eight elements that share a call of the generator are independent",
          "[statistics]") {
  const Dropout dropout{0.5, 4, 9};
  const int n = 20000;
  for (int i = 0; i < 8; ++i)
    for (int j = i + 1; j < 8; ++j) {
      int both = 0;
      for (int k = 0; k < n; ++k) {
        const std::uint64_t first = std::uint64_t(k) * 8;
        both += dropout.factor(first + std::uint64_t(i)) == 0 &&
                dropout.factor(first + std::uint64_t(j)) == 0;
      }
      CHECK(std::abs(both - n * 0.25) < 5 * std::sqrt(n * 0.25 * 0.75));
    }
}

TEST_CASE("Dropout: rate 0 is off and keeps everything as it is", "[edge]") {
  const Dropout off{};
  CHECK(!off.active());
  CHECK(off.factor(0) == 1);
  CHECK(off.factor(12345) == 1);
}

TEST_CASE("Dropout: another stream drops other elements", "[edge]") {
  const Dropout a{0.5, 4, stream(1, 0, RandomStream::final_dropout)},
      b{0.5, 4, stream(2, 0, RandomStream::final_dropout)},
      c{0.5, 5, stream(1, 0, RandomStream::final_dropout)};
  int same_as_b = 0, same_as_c = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    same_as_b += a.factor(i) == b.factor(i);
    same_as_c += a.factor(i) == c.factor(i);
  }
  CHECK(std::abs(same_as_b - 500) < 80);
  CHECK(std::abs(same_as_c - 500) < 80);
}

}  // namespace
