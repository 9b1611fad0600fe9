#include <moe/layers/mixture_of_experts.hpp>

#include "../catch.hpp"
#include "parity.hpp"
#include "routing.hpp"

namespace {

using namespace moe;

template <class B>
using Plain = MoE<8, 2, 37, 21, B>;
template <class B>
using Full = MoE<5, 3, 37, 19, B,
                 MoeTraits{.activation = Activation::gelu,
                           .bias = true,
                           .shared_experts = 2,
                           .router = {.scoring = Scoring::sigmoid,
                                      .renormalize = false,
                                      .expert_bias = true,
                                      .bias = true}}>;
template <class B>
using Gates = test::GatesOf<11, 4, 37, B, RouterTraits{.renormalize = false}>;

test::Setup everything() {
  test::Setup setup = test::with_losses({.n = 45, .length = 15});
  setup.options.router_noise = 0.5;
  setup.options.dropout.expert = 0.25;
  return setup;
}

TEST_CASE("Cpu: mixtures of experts agree with the oracle", "[parity]") {
  CHECK(test::agrees<Plain>());
  CHECK(test::agrees<Full>());
  CHECK(test::agrees<Plain>(everything()));
  CHECK(test::agrees<Full>(everything()));
  CHECK(test::agrees<Plain>({.n = 1, .length = 1}));
}

TEST_CASE("Cpu: routers agree with the oracle", "[parity]") {
  CHECK(test::agrees<Gates>());
  CHECK(test::agrees<Gates>(everything()));
}

}  // namespace
