#include <moe/layers/rope.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

constexpr int context = 9, head_dim = 6, heads = 2, cols = heads * head_dim;
constexpr double base = 50;  // small, so that every pair turns visibly

/// x rotated as in one pass over sequences of `length`.
template <Position Kind>
std::vector<double> rotated(std::vector<double> x, int length, int start, int direction) {
  using Rotary = Rope<context, head_dim, Kind, Reference<double>>;
  Reference<double> be;
  test::Owned<typename Rotary::Cache, Reference<double>> cache(be);
  Options options{.rope_base = base};
  const Pass pass{.options = &options, .length = length, .start = start};
  Rotary::prepare(be, pass, cache.tree);
  Rotary::template rotate<cols>(be, pass, cache.tree, {x.data(), int(x.size()) / cols}, direction);
  return x;
}

/// One row rotated by the definition, at one position.
std::vector<double> turned(const std::vector<double>& x, int position, bool half) {
  auto y = x;
  for (std::size_t first = 0; first < cols; first += head_dim)
    for (std::size_t j = 0; j < head_dim / 2; ++j) {
      const std::size_t a = first + (half ? j : 2 * j), b = half ? a + head_dim / 2 : a + 1;
      const double angle = position * std::pow(base, -2.0 * double(j) / head_dim);
      y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
      y[b] = x[a] * std::sin(angle) + x[b] * std::cos(angle);
    }
  return y;
}
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

template <Position Kind>
void check_rotation() {
  const auto x = test::some_rows(6, cols);
  SECTION("equals its definition, for two sequences, from any start") {
    for (const int start : {0, 4}) {
      const auto y = rotated<Kind>(x, 3, start, +1);
      for (int r = 0; r < 6; ++r)
        CHECK(test::largest_difference(test::row(y, r, cols),
                                       turned(test::row(x, r, cols), start + r % 3,
                                              Kind == Position::rope_half)) < 1e-14);
    }
  }
  SECTION("keeps lengths, and leaves position 0 alone") {
    const auto y = rotated<Kind>(x, 6, 0, +1);
    CHECK(test::row(y, 0, cols) == test::row(x, 0, cols));
    CHECK(test::largest_difference(test::row(y, 1, cols), test::row(x, 1, cols)) > 0.1);
    for (int r = 0; r < 6; ++r) {
      const auto before = test::row(x, r, cols), after = test::row(y, r, cols);
      CHECK(std::abs(dot(after, after) - dot(before, before)) < 1e-13);
    }
  }
  SECTION("the opposite rotation turns back") {
    const auto y = rotated<Kind>(rotated<Kind>(x, 6, 2, +1), 6, 2, -1);
    CHECK(test::largest_difference(y, x) < 1e-14);
  }
  SECTION("backward, the opposite rotation, is the transpose") {
    const auto z = test::some_rows(6, cols, 9);
    CHECK(std::abs(dot(rotated<Kind>(x, 6, 1, +1), z) - dot(x, rotated<Kind>(z, 6, 1, -1))) <
          1e-13);
  }
  SECTION("the product of query and key depends on their distance only") {
    const auto q = test::row(x, 0, cols), k = test::row(x, 1, cols);
    const auto product = [&](int i, int j) {
      return dot(rotated<Kind>(q, 1, i, +1), rotated<Kind>(k, 1, j, +1));
    };
    CHECK(std::abs(product(5, 3) - product(2, 0)) < 1e-13);
    CHECK(std::abs(product(8, 8) - product(0, 0)) < 1e-13);
    CHECK(std::abs(product(3, 5) - product(5, 3)) > 1e-3);
  }
}

TEST_CASE("Rope: pairs of halves", "[identity]") {
  check_rotation<Position::rope_half>();
}
TEST_CASE("Rope: interleaved pairs", "[identity]") {
  check_rotation<Position::rope_interleaved>();
}

TEST_CASE("Rope: other positions rotate nothing and take no memory", "[edge]") {
  const auto x = test::some_rows(6, cols);
  CHECK(rotated<Position::none>(x, 3, 2, +1) == x);
  CHECK(rotated<Position::learned>(x, 3, 2, +1) == x);
  using B = Reference<double>;
  CHECK(bytes<Rope<context, head_dim, Position::learned, B>::Cache>() == 0);
}

TEST_CASE("Rope: no rows", "[edge]") {
  CHECK(rotated<Position::rope_half>({}, 3, 0, +1).empty());
}

}  // namespace
