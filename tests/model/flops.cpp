#include <cmath>
#include <moe/model/flops.hpp>

#include "catch.hpp"

using namespace moe;

namespace {
bool near(double value, double megaflops, double digits) {
  return std::abs(value * 1e-6 - megaflops) <= 0.5 * digits;
}
constexpr ModelConfig shakespeare{.vocab = 65,
                                  .dim = 384,
                                  .layers = 4,
                                  .heads = 6,
                                  .context = 256,
                                  .activation = Activation::gelu,
                                  .moe = {.experts = 8, .top_k = 2, .hidden = 768}};
}  // namespace

TEST_CASE("token_flops: the published table of the Shakespeare mixture", "[flops]") {
  constexpr TokenFlops f = token_flops(shakespeare);
  CHECK(near(f.projections, 4.72, 0.01));
  CHECK(near(f.attention, 0.79, 0.01));
  CHECK(near(f.experts, 9.44, 0.01));
  CHECK(near(f.router, 0.025, 0.001));
  CHECK(near(f.head, 0.05, 0.01));
  CHECK(near(f.forward(), 15.02, 0.01));
  CHECK(near(f.backward(), 30.43, 0.01));
  CHECK(near(f.training(), 45.45, 0.01));
}

TEST_CASE("token_flops: the published table of the 79 million parameter mixture", "[flops]") {
  constexpr ModelConfig config{.vocab = 49152,
                               .dim = 384,
                               .layers = 6,
                               .heads = 8,
                               .context = 512,
                               .activation = Activation::silu,
                               .moe = {.experts = 8, .top_k = 2, .hidden = 1536}};
  constexpr TokenFlops f = token_flops(config);
  CHECK(near(f.projections, 7.08, 0.01));
  CHECK(near(f.attention, 2.36, 0.01));
  CHECK(near(f.experts, 28.31, 0.01));
  CHECK(near(f.head, 37.75, 0.01));
  CHECK(near(f.forward(), 75.54, 0.01));
  CHECK(near(f.backward(), 152.26, 0.01));
  CHECK(near(f.training(), 227.8, 0.1));
}

TEST_CASE("token_flops: gates, shared experts, dense layers, key heads and length count",
          "[flops]") {
  ModelConfig c = shakespeare;
  const TokenFlops plain = token_flops(c);
  c.activation = Activation::swiglu;
  CHECK(token_flops(c).experts == 1.5 * plain.experts);
  c = shakespeare;
  c.moe.shared_experts = 1;
  CHECK(token_flops(c).experts == 1.5 * plain.experts);
  c = shakespeare;
  c.moe.every = 2;
  CHECK(token_flops(c).experts == 0.5 * plain.experts);
  CHECK(token_flops(c).router == 0.5 * plain.router);
  CHECK(token_flops(c).dense == 2 * 4.0 * 384 * 1536);
  c = shakespeare;
  c.kv_heads = 2;
  CHECK(token_flops(c).projections == plain.projections * (4 + 4.0 / 3) / 8);
  CHECK(token_flops(shakespeare, 128).attention == plain.attention * 129 / 257);
  c.moe.experts = 0;
  CHECK(token_flops(c).experts == 0);
  CHECK(token_flops(c).router == 0);
}
