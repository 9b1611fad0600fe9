#include <moe/layers/embedding.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

constexpr int vocab = 4, dim = 5, n = 6;
const std::int32_t tokens[n] = {2, 0, 2, 3, 2, 0};  // 1 never occurs, 2 three times

template <class T, bool Scaled>
std::vector<T> embedded(const std::vector<T>& weight) {
  Reference<T> be;
  using L = TokenEmbedding<vocab, dim, Reference<T>, Scaled>;
  test::Owned<typename L::Params, Reference<T>> params(be);
  test::set_leaves(params.tree, weight);
  std::vector<T> y(n * dim, T(NAN));
  L::forward(be, params.tree, {tokens, n}, {y.data(), n});
  return y;
}

/// Largest |complex step - backward| over the table, and what it gives for the token that is
/// absent.
template <bool Scaled>
double token_error() {
  const auto weight = test::some_rows(vocab, dim), dy = test::some_rows(n, dim, 3);
  Reference<double> be;
  using L = TokenEmbedding<vocab, dim, Reference<double>, Scaled>;
  test::Owned<typename L::Params, Reference<double>> grad(be);
  test::set_leaves(grad.tree, std::vector<double>(weight.size(), 2.0));  // backward adds
  test::Owned<typename L::Scratch, Reference<double>> scratch(be, n);
  L::backward(be, {tokens, n}, {dy.data(), n}, grad.tree, scratch.tree);
  double worst = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    std::vector<test::Complex> nudged(weight.begin(), weight.end());
    nudged[i].im = 1e-30;
    const auto y = embedded<test::Complex, Scaled>(nudged);
    double derivative = 0;
    for (std::size_t j = 0; j < y.size(); ++j) derivative += y[j].im / 1e-30 * dy[j];
    worst = std::max(worst, std::abs(2 + derivative - grad.tree.weight.data[i]));
  }
  return worst;
}

TEST_CASE("TokenEmbedding: backward adds the complex-step derivative", "[gradient][adds]") {
  CHECK(token_error<false>() < 1e-14);
  CHECK(token_error<true>() < 1e-14);
}

TEST_CASE("TokenEmbedding: a row of y is the token's row, times sqrt(dim) when scaled",
          "[identity]") {
  const auto weight = test::some_rows(vocab, dim);
  const auto plain = embedded<double, false>(weight), scaled = embedded<double, true>(weight);
  for (int r = 0; r < n; ++r) {
    const auto of_token = test::row(weight, tokens[r], dim);
    CHECK(test::row(plain, r, dim) == of_token);
    for (std::size_t i = 0; i < dim; ++i)
      CHECK(std::abs(test::row(scaled, r, dim)[i] - std::sqrt(5.0) * of_token[i]) < 1e-15);
  }
}

TEST_CASE("TokenEmbedding: no rows leave the gradient as it is", "[edge]") {
  Reference<double> be;
  using L = TokenEmbedding<vocab, dim, Reference<double>>;
  test::Owned<L::Params, Reference<double>> params(be);
  L::forward(be, params.tree, {nullptr, 0}, {nullptr, 0});
  test::Owned<L::Scratch, Reference<double>> scratch(be, 0);
  L::backward(be, {nullptr, 0}, {nullptr, 0}, params.tree, scratch.tree);
  CHECK(test::largest(test::get_leaves<double>(params.tree)) == 0);
}

using Positions = PositionEmbedding<8, dim, Reference<double>>;

TEST_CASE("PositionEmbedding: adds the row of each token's position", "[identity]") {
  Reference<double> be;
  test::Owned<Positions::Params, Reference<double>> params(be);
  const auto weight = test::some_rows(8, dim), before = test::some_rows(n, dim, 4);
  test::set_leaves(params.tree, weight);
  for (const int start : {0, 5}) {
    Pass pass = test::Setup{}.pass();  // sequences of three
    pass.start = start;
    auto y = before;
    Positions::forward(be, pass, params.tree, {y.data(), n});
    for (int r = 0; r < n; ++r)
      for (std::size_t i = 0; i < dim; ++i)
        CHECK(test::row(y, r, dim)[i] ==
              test::row(before, r, dim)[i] + test::row(weight, start + r % 3, dim)[i]);
  }
}

TEST_CASE("PositionEmbedding: backward adds the sum over the sequences", "[gradient][adds]") {
  Reference<double> be;
  test::Owned<Positions::Params, Reference<double>> grad(be);
  test::set_leaves(grad.tree, std::vector<double>(8 * dim, 2.0));
  const auto dy = test::some_rows(n, dim, 3);
  Pass pass = test::Setup{}.pass();
  pass.start = 1;
  Positions::backward(be, pass, {dy.data(), n}, grad.tree);
  const auto got = test::get_leaves<double>(grad.tree);
  for (int p = 0; p < 8; ++p)
    for (std::size_t i = 0; i < dim; ++i) {
      const bool used = p >= 1 && p < 4;
      const double sum = used ? test::row(dy, p - 1, dim)[i] + test::row(dy, p + 2, dim)[i] : 0;
      CHECK(std::abs(test::row(got, p, dim)[i] - 2 - sum) < 1e-15);
    }
}

}  // namespace
