#include <moe/block.hpp>

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
  c.moe.renormalise = false;
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
  CHECK(test::gradient_error<Everything>(setup) < 1e-12);
}

TEST_CASE("Block: backward adds", "[adds]") {
  CHECK(test::adding_error<Mixture>() < 1e-13);
  CHECK(test::adding_error<Everything>() < 1e-13);
}

}  // namespace
