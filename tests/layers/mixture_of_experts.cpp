#include <moe/layers/mixture_of_experts.hpp>

#include "../catch.hpp"
#include "routing.hpp"

namespace {

using namespace moe;

using B = Reference<double>;
constexpr int n = 12, dim = 5, hidden = 7, experts = 4;
constexpr test::Setup twelve{.n = n, .length = 4};

template <int TopK, MoeTraits Traits>
using Of = MoE<experts, TopK, dim, hidden, B, Traits>;
constexpr MoeTraits full{.activation = Activation::swiglu, .bias = true};
constexpr MoeTraits full_kept{
    .activation = Activation::geglu, .bias = true, .router = {.renormalize = false, .bias = true}};
constexpr MoeTraits with_shared{.activation = Activation::gelu,
                                .bias = true,
                                .shared_experts = 2,
                                .router = {.scoring = Scoring::sigmoid, .bias = true}};

template <class L>
test::Run<L> prepared(B& be, const test::Setup& setup = twelve) {
  return {be, setup, test::some_theta<L>(), test::some_rows(setup.n, dim)};
}

template <MoeTraits Traits>
void check_one_expert() {
  B be;
  using Mixture = MoE<1, 1, dim, hidden, B, Traits>;
  using Dense = FeedForward<dim, hidden, B, FeedForwardTraits{Traits.activation, Traits.bias}>;
  const auto x = test::some_rows(n, dim), dy = test::some_rows(n, dim, 3);
  const auto theta = test::some_theta<Mixture>();  // the router's, then the expert's
  const std::size_t of_router = dim + (Traits.bias ? 1 : 0);
  const std::vector<double> of_expert(theta.begin() + std::ptrdiff_t(of_router), theta.end());
  test::Setup setup = twelve;
  setup.options.dropout.expert = 0.25;
  test::Run<Mixture> mixture(be, setup, theta, x);
  test::Run<Dense> dense(be, setup, of_expert, x);
  CHECK(mixture.forward() == dense.forward());
  CHECK(mixture.backward(dy) == dense.backward(dy));
  auto gradients = mixture.gradients();
  for (std::size_t i = 0; i < of_router; ++i) CHECK(gradients[i] == 0);
  gradients.erase(gradients.begin(), gradients.begin() + std::ptrdiff_t(of_router));
  CHECK(gradients == dense.gradients());
}

TEST_CASE("MoE: with one expert it equals the dense feed-forward, bit by bit", "[identity]") {
  check_one_expert<MoeTraits{.activation = Activation::swiglu}>();
  check_one_expert<MoeTraits{.activation = Activation::geglu, .bias = true}>();
  check_one_expert<MoeTraits{.activation = Activation::relu_squared, .bias = true}>();
}

/// FFN_e(x) for every token, by the dense layer with the numbers of expert e.
template <class L, MoeTraits Traits>
std::vector<double> of_expert(B& be, const test::Run<L>& run, int e) {
  using Dense = FeedForward<dim, hidden, B, FeedForwardTraits{Traits.activation, Traits.bias}>;
  std::vector<double> theta;
  for_each_leaf(
      [&](const auto& leaf) {
        const std::size_t size = leaf.size / experts;
        if (size > 0) theta.insert(theta.end(), leaf.matrix(e), leaf.matrix(e) + size);
      },
      run.params.tree.experts);
  return test::Run<Dense>(be, run.setup, theta, run.x).forward();
}

/// sum over the experts of weight(token, expert) * FFN_e(x), in a plain loop.
template <class L, MoeTraits Traits>
std::vector<double> weighted(B& be, const test::Run<L>& run, const auto& weight) {
  std::vector<double> y(std::size_t(n * dim));
  for (int e = 0; e < experts; ++e) {
    const auto out = of_expert<L, Traits>(be, run, e);
    for (int t = 0; t < n; ++t)
      for (int i = 0; i < dim; ++i) {
        const std::size_t at = std::size_t(t * dim + i);
        y[at] += weight(t, e) * out[at];
      }
  }
  return y;
}

template <MoeTraits Traits>
void check_dense_mixture() {
  B be;
  auto run = prepared<Of<experts, Traits>>(be);
  const auto y = run.forward();
  const auto expected = weighted<Of<experts, Traits>, Traits>(
      be, run, [&](int t, int e) { return run.cache.tree.router.probs.data[t * experts + e]; });
  CHECK(test::largest_difference(y, expected) < 1e-13 * test::largest(expected));
}

TEST_CASE("MoE: with top_k = experts it equals the dense mixture", "[identity]") {
  check_dense_mixture<full>();
  check_dense_mixture<full_kept>();
}

template <MoeTraits Traits>
void check_chosen() {
  B be;
  auto run = prepared<Of<2, Traits>>(be);
  const auto y = run.forward();
  const auto& router = run.cache.tree.router;
  const auto expected = weighted<Of<2, Traits>, Traits>(be, run, [&](int t, int e) {
    double gate = 0;
    for (int j = 0; j < 2; ++j)
      if (router.expert.data[t * 2 + j] == e) gate = router.gates.data[t * 2 + j];
    return gate;
  });
  CHECK(test::largest_difference(y, expected) < 1e-13 * test::largest(expected));
}

TEST_CASE("MoE: y is the gated sum of the chosen experts", "[identity]") {
  check_chosen<full>();
  check_chosen<full_kept>();
}

TEST_CASE("MoE: shared experts are one feed-forward that every token passes", "[identity]") {
  B be;
  using L = Of<2, with_shared>;
  using Routed = Of<2, MoeTraits{.activation = Activation::gelu,
                                 .bias = true,
                                 .router = {.scoring = Scoring::sigmoid, .bias = true}}>;
  using Shared = FeedForward<dim, 2 * hidden, B, FeedForwardTraits{Activation::gelu, true}>;
  const auto theta = test::some_theta<L>(), x = test::some_rows(n, dim);
  const auto size = std::ptrdiff_t(test::parameter_elements<Routed::Params>());
  test::Run<L> both(be, twelve, theta, x);
  test::Run<Routed> routed(be, twelve, {theta.begin(), theta.begin() + size}, x);
  test::Run<Shared> shared(be, twelve, {theta.begin() + size, theta.end()}, x);
  auto sum = routed.forward();
  const auto other = shared.forward();
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  CHECK(both.forward() == sum);
}

TEST_CASE("MoE: permuting the tokens permutes the outputs", "[identity]") {
  B be;
  using L = Of<2, full>;
  auto run = prepared<L>(be);
  const auto x = test::some_rows(n, dim), dy = test::some_rows(n, dim, 3);
  const auto moved = [&](const std::vector<double>& v) {
    std::vector<double> to;
    for (int t = 0; t < n; ++t)
      for (const double e : test::row(v, t * 5 % n, dim)) to.push_back(e);
    return to;
  };
  test::Run<L> permuted(be, twelve, test::some_theta<L>(), moved(x));
  CHECK(permuted.forward() == moved(run.forward()));
  CHECK(permuted.backward(moved(dy)) == moved(run.backward(dy)));
  CHECK(test::largest_difference(permuted.gradients(), run.gradients()) <
        1e-13 * test::largest(run.gradients()));
}

TEST_CASE("MoE: dispatch and combine with gates 1/k is the identity", "[identity]") {
  B be;
  const auto x = test::some_rows(n, dim);
  const std::vector<int> expert{3, 1, 0, 1, 1, 2, 3, 0, 0, 1, 2, 3,
                                3, 1, 1, 0, 2, 0, 0, 1, 3, 2, 1, 2};
  std::vector<int> slot_of(2 * n), token_of(2 * n), offset(experts + 1);
  be.group_by_expert(n, experts, 2, expert.data(), slot_of.data(), token_of.data(), offset.data());
  std::vector<double> slots, y(x.size(), NAN), summed(x.size());
  for (const int token : token_of)
    for (const double e : test::row(x, token, dim)) slots.push_back(e);
  const std::vector<double> gates(2 * n, 0.5);
  be.rows(n, kernel::Combine<double>{
                 {slots.data(), dim}, {gates.data(), 2}, {slot_of.data(), 2}, {y.data(), dim}});
  CHECK(y == x);
  be.rows(n, kernel::DispatchBackward<double>{
                 {slots.data(), dim}, {slot_of.data(), 2}, {summed.data(), dim}});
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(summed[i] == 2 * x[i]);
}

TEST_CASE("MoE: an expert without tokens has gradient zero", "[edge]") {
  B be;
  using L = Of<1, full>;
  auto run = prepared<L>(be);
  std::fill_n(run.params.tree.router.weight.data, experts * dim, 0.0);
  std::fill_n(run.params.tree.router.bias.data, experts, 0.0);
  run.params.tree.router.bias.data[2] = 50;  // every token to expert 2
  run.forward();
  for (int e = 0; e <= experts; ++e)
    CHECK(run.cache.tree.router.report.offset[e] == (e > 2 ? n : 0));
  run.backward(test::some_rows(n, dim, 3));
  for_each_leaf(
      [&](const auto& leaf) {
        const std::size_t size = leaf.size / experts;
        for (int e = 0; e < experts; ++e) {
          const std::vector<double> of_e(leaf.matrix(e), leaf.matrix(e) + size);
          CHECK((test::largest(of_e) > 0) == (e == 2));
        }
      },
      run.grad.tree.experts);
}

TEST_CASE("MoE: expert dropout does not depend on how the tokens are grouped", "[identity]") {
  // Two experts with the same numbers: where a token goes must not change its mask.
  B be;
  using L = MoE<2, 1, dim, hidden, B, MoeTraits{.activation = Activation::gelu, .bias = true}>;
  test::Setup setup = twelve;
  setup.options.dropout.expert = 0.5;
  test::Run<L> run(be, setup, test::some_theta<L>(), test::some_rows(n, dim));
  for_each_leaf(
      [](auto& leaf) { std::copy_n(leaf.data, leaf.size / 2, leaf.data + leaf.size / 2); },
      run.params.tree.experts);
  const auto y = run.forward();
  const int first = run.cache.tree.router.report.offset[1];
  CHECK((first > 0 && first < n));
  run.params.tree.router.bias.data[1] = 1000;
  CHECK(run.forward() == y);
  CHECK(run.cache.tree.router.report.offset[1] == 0);
}

TEST_CASE("MoE: dropout and noise act in training only", "[identity]") {
  B be;
  test::Setup setup = twelve;
  const auto off = prepared<Of<2, full>>(be, setup).forward();
  setup.options.dropout.expert = 0.5;
  setup.options.router_noise = 1;
  auto run = prepared<Of<2, full>>(be, setup);
  CHECK(test::largest_difference(run.forward(), off) > 0.01);
  Pass pass = run.setup.pass();
  pass.training = false;
  CHECK(run.forward(pass) == off);
}

TEST_CASE("MoE: no rows leave the gradients as they are", "[edge]") {
  B be;
  auto run = prepared<Of<2, with_shared>>(be, {.n = 0, .length = 4});
  run.forward();
  run.backward({});
  CHECK(test::largest(run.gradients()) == 0);
}

}  // namespace
