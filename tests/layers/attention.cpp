#include <moe/layers/attention.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

using B = Reference<double>;
using Half = Attention<4, 2, 8, 6, B>;
using Interleaved =
    Attention<4, 2, 8, 6, B, AttentionTraits{Position::rope_interleaved, true, true}>;
using Bare = Attention<2, 2, 6, 6, B, AttentionTraits{Position::none}>;

constexpr test::Setup two_sequences{.n = 10, .length = 5};

template <class L>
test::Run<L> prepared(B& be, std::vector<double> x, const test::Setup& setup = two_sequences) {
  return {be, setup, test::some_theta<L>(), x};
}

/// The output y after the token number `token` was changed.
template <class L>
std::vector<double> after_change(int token) {
  B be;
  auto x = test::some_rows(10, L::in);
  for (std::size_t i = 0; i < L::in; ++i) x[std::size_t(token) * L::in + i] += 1;
  return prepared<L>(be, x).forward();
}

template <class L>
void check_sight() {
  B be;
  const auto y = prepared<L>(be, test::some_rows(10, L::in)).forward();
  for (const int token : {0, 2, 4, 5, 9}) {
    const auto changed = after_change<L>(token);
    for (int r = 0; r < 10; ++r) {
      const bool sees = r / 5 == token / 5 && r >= token;
      const double difference =
          test::largest_difference(test::row(y, r, L::in), test::row(changed, r, L::in));
      CHECK((sees ? difference > 1e-6 : difference == 0));
    }
  }
}

TEST_CASE("Attention: a token changes nothing before it and nothing in another sequence",
          "[identity]") {
  check_sight<Half>();
  check_sight<Interleaved>();
  check_sight<Bare>();
}

TEST_CASE("Attention: the gradient of a token reaches nothing after it and no other sequence",
          "[identity]") {
  B be;
  auto run = prepared<Half>(be, test::some_rows(10, 8));
  run.forward();
  std::vector<double> dy(80);
  dy[7 * 8 + 3] = 1;
  const auto dx = run.backward(dy);
  for (int r = 0; r < 10; ++r)
    CHECK((test::largest(test::row(dx, r, 8)) > 1e-3) == (r >= 5 && r <= 7));
}

/// Softmax attention of one head, straight from the formula, without positions.
std::vector<double> by_hand(const std::vector<double>& theta, const std::vector<double>& x) {
  constexpr std::size_t dim = 6, heads = 2, head = 3;
  const auto times = [&](std::size_t which, std::size_t r, std::size_t out) {
    double sum = 0;
    for (std::size_t i = 0; i < dim; ++i)
      sum += theta[which * dim * dim + out * dim + i] * x[r * dim + i];
    return sum;
  };
  const std::size_t n = x.size() / dim;
  std::vector<double> mixed(x.size()), y(x.size());
  for (std::size_t h = 0; h < heads; ++h)
    for (std::size_t t = 0; t < n; ++t) {
      std::vector<double> weight(t + 1);
      double total = 0;
      for (std::size_t s = 0; s <= t; ++s) {
        double score = 0;
        for (std::size_t d = h * head; d < (h + 1) * head; ++d)
          score += times(0, t, d) * times(1, s, d);
        total += weight[s] = std::exp(score / std::sqrt(3.0));
      }
      for (std::size_t d = h * head; d < (h + 1) * head; ++d)
        for (std::size_t s = 0; s <= t; ++s)
          mixed[t * dim + d] += weight[s] / total * times(2, s, d);
    }
  for (std::size_t t = 0; t < n; ++t)
    for (std::size_t i = 0; i < dim; ++i)
      for (std::size_t d = 0; d < dim; ++d)
        y[t * dim + i] += theta[3 * dim * dim + i * dim + d] * mixed[t * dim + d];
  return y;
}

TEST_CASE("Attention: equals its formula", "[identity]") {
  B be;
  const auto x = test::some_rows(5, 6);
  const auto y = prepared<Bare>(be, x, {.n = 5, .length = 5}).forward();
  CHECK(test::largest_difference(y, by_hand(test::some_theta<Bare>(), x)) < 1e-13);
}

TEST_CASE("Attention: a query head reads key head h * kv_heads / heads", "[identity]") {
  B be;
  // Grouped heads equal full heads whose key and value rows are repeated.
  constexpr std::size_t dim = 8, pair = 2;
  const auto grouped = test::some_theta<Half>();
  std::vector<double> full(grouped.begin(), grouped.begin() + dim * dim);
  for (const std::size_t from : {dim * dim, dim * dim + dim * dim / 2})
    for (std::size_t out = 0; out < dim; ++out) {
      const std::size_t head = out / pair, row = head / 2 * pair + out % pair;
      const auto first = grouped.begin() + std::ptrdiff_t(from + row * dim);
      full.insert(full.end(), first, first + dim);
    }
  full.insert(full.end(), grouped.end() - dim * dim, grouped.end());
  const auto x = test::some_rows(10, 8);
  test::Run<Attention<4, 4, 8, 6, B>> all(be, two_sequences, full, x);
  CHECK(test::largest_difference(all.forward(), prepared<Half>(be, x).forward()) < 1e-13);
}

TEST_CASE("Attention: with qk-norm the size of queries and keys does not matter", "[identity]") {
  B be;
  test::Setup setup = two_sequences;
  setup.options.norm_eps = 0;
  using L = Attention<2, 2, 8, 6, B, AttentionTraits{Position::rope_half, false, true}>;
  auto theta = test::some_theta<L>();
  const auto x = test::some_rows(10, 8);
  const auto y = test::Run<L>(be, setup, theta, x).forward();
  for (std::size_t i = 0; i < 128; ++i) theta[i] *= i < 64 ? 3 : 5;  // q and k
  CHECK(test::largest_difference(test::Run<L>(be, setup, theta, x).forward(), y) < 1e-12);
}

/// The output for five tokens of each of two sequences, fed in pieces through a store of keys and
/// values.
template <class L>
std::vector<double> in_pieces(const std::vector<int>& pieces, int room) {
  B be;
  const auto x = test::some_rows(10, L::in);
  std::vector<double> keys(std::size_t(2 * room * L::kv_dim), NAN), values = keys, y(x.size());
  const KeyValues<double> past{keys.data(), values.data(), room};
  int start = 0;
  for (const int length : pieces) {
    std::vector<double> part;
    for (int s = 0; s < 2; ++s)
      for (int t = 0; t < length; ++t)
        for (const double e : test::row(x, s * 5 + start + t, L::in)) part.push_back(e);
    auto run = prepared<L>(be, part, {.n = 2 * length, .length = length});
    Pass pass = run.setup.pass();
    pass.start = start;
    const int n = 2 * length;
    L::forward(be, pass, run.params.tree, {run.x.data(), n}, {run.y.data(), n}, run.cache.tree,
               run.scratch.tree, &past);
    for (int s = 0; s < 2; ++s)
      std::copy_n(run.y.begin() + s * length * L::in, length * L::in,
                  y.begin() + (s * 5 + start) * L::in);
    start += length;
  }
  return y;
}

TEST_CASE("Attention: with stored keys and values it gives the same, token by token",
          "[identity]") {
  B be;
  const auto half = prepared<Half>(be, test::some_rows(10, 8)).forward();
  const auto interleaved = prepared<Interleaved>(be, test::some_rows(10, 8)).forward();
  CHECK(test::largest_difference(in_pieces<Half>({1, 1, 1, 1, 1}, 5), half) < 1e-14);
  CHECK(test::largest_difference(in_pieces<Half>({3, 2}, 6), half) < 1e-14);
  CHECK(test::largest_difference(in_pieces<Half>({5}, 9), half) < 1e-14);
  CHECK(test::largest_difference(in_pieces<Interleaved>({2, 1, 2}, 5), interleaved) < 1e-14);
}

TEST_CASE("Attention: dropout acts in training only", "[identity]") {
  B be;
  test::Setup setup = two_sequences;
  const auto x = test::some_rows(10, 8);
  const auto off = prepared<Half>(be, x, setup).forward();
  setup.options.dropout.attention = 0.5;
  auto run = prepared<Half>(be, x, setup);
  CHECK(test::largest_difference(run.forward(), off) > 0.01);
  Pass pass = run.setup.pass();
  pass.training = false;
  CHECK(run.forward(pass) == off);
}

TEST_CASE("Attention: no rows leave the gradients as they are", "[edge]") {
  B be;
  auto run = prepared<Interleaved>(be, {}, {.n = 0, .length = 5});
  run.forward();
  run.backward({});
  CHECK(test::largest(run.gradients()) == 0);
}

}  // namespace
