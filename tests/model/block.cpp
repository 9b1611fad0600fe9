#include <moe/model/block.hpp>

#include "catch.hpp"
#include "gradient.hpp"

namespace {

using namespace moe;

constexpr ModelConfig base{.vocab = 5,
                           .dim = 8,
                           .layers = 2,
                           .heads = 4,
                           .kv_heads = 2,
                           .hidden = 6,
                           .context = 3,
                           .moe = {.experts = 4, .top_k = 2, .hidden = 5}};
constexpr ModelConfig with(auto change) {
  ModelConfig c = base;
  change(c);
  return c;
}
constexpr ModelConfig gpt = with([](ModelConfig& c) {
  c.bias = true;
  c.norm = Norm::layer;
  c.position = Position::learned;
  c.activation = Activation::gelu;
});
constexpr ModelConfig everything = with([](ModelConfig& c) {
  c.bias = true;
  c.qk_norm = true;
  c.position = Position::rope_interleaved;
  c.activation = Activation::geglu;
  c.moe.shared_experts = 1;
  c.moe.scoring = Scoring::sigmoid;
  c.moe.renormalize = false;
});

template <class B>
using Mixture = Block<base, true, B>;
template <class B>
using Dense = Block<base, false, B>;
template <class B>
using GptMixture = Block<gpt, true, B>;
template <class B>
using Everything = Block<everything, true, B>;

TEST_CASE("Block: backward equals the complex-step derivative", "[gradient]") {
  CHECK(test::gradient_error<Mixture>() < 1e-12);
  CHECK(test::gradient_error<Dense>() < 1e-12);
  CHECK(test::gradient_error<GptMixture>() < 1e-12);
  CHECK(test::gradient_error<Everything>() < 1e-12);
}

TEST_CASE("Block: backward equals the complex-step derivative with dropout on", "[gradient]") {
  test::Setup setup;
  setup.options.dropout = {
      .attention = 0.3, .attention_output = 0.3, .expert = 0.3, .ffn_output = 0.3};
  CHECK(test::gradient_error<Mixture>(setup) < 1e-12);
  CHECK(test::gradient_error<Dense>(setup) < 1e-12);
  CHECK(test::gradient_error<Everything>(setup) < 1e-12);
}

/// Whether backward_in_place on dy and backward onto zeros give the same numbers.
template <class L>
bool in_place_equals_backward(const test::Setup& setup) {
  using B = Reference<double>;
  B be;
  test::Owned<typename L::Params, B> params(be), grad(be), grad_in_place(be);
  test::Owned<typename L::Cache, B> cache(be, setup.n);
  test::Owned<typename L::Scratch, B> scratch(be, setup.n);
  test::set_leaves(params.tree,
                   test::random_numbers(test::parameter_elements<typename L::Params>(), 1));
  const std::size_t size = std::size_t(setup.n) * L::in;
  const auto x = test::random_numbers(size, 2), dy = test::random_numbers(size, 3);
  std::vector<double> y(size), dx(size), dresidual = dy;
  const Pass pass = setup.pass();
  L::forward(be, pass, params.tree, {x.data(), setup.n}, {y.data(), setup.n}, cache.tree,
             scratch.tree);
  L::backward(be, pass, params.tree, {x.data(), setup.n}, cache.tree, {dy.data(), setup.n},
              {dx.data(), setup.n}, grad.tree, scratch.tree);
  L::backward_in_place(be, pass, params.tree, {x.data(), setup.n}, cache.tree,
                       {dresidual.data(), setup.n}, grad_in_place.tree, scratch.tree);
  return dresidual == dx && dresidual != dy &&
         test::get_leaves<double>(grad.tree) == test::get_leaves<double>(grad_in_place.tree);
}

TEST_CASE("Block: backward in place turns dy into dx", "[identity]") {
  test::Setup setup;
  CHECK(in_place_equals_backward<Mixture<Reference<double>>>(setup));
  CHECK(in_place_equals_backward<GptMixture<Reference<double>>>(setup));
  setup.options.dropout = {.attention_output = 0.3, .ffn_output = 0.3};
  CHECK(in_place_equals_backward<Everything<Reference<double>>>(setup));
}

TEST_CASE("Block: backward adds", "[adds]") {
  CHECK(test::adding_error<Mixture>() < 1e-13);
  CHECK(test::adding_error<Everything>() < 1e-13);
}

}  // namespace
