#include <moe/layers/mixture_of_experts.hpp>

#include "../catch.hpp"
#include "routing.hpp"

namespace {

using namespace moe;

template <class B>
using All = MoE<3, 3, 5, 2, B,
                MoeTraits{.activation = Activation::geglu,
                          .bias = true,
                          .shared_experts = 1,
                          .router = {.scoring = Scoring::sigmoid, .bias = true}}>;
template <class B>
using Shared = MoE<4, 2, 5, 2, B,
                   MoeTraits{.activation = Activation::swiglu,
                             .bias = true,
                             .shared_experts = 2,
                             .router = {.scoring = Scoring::sigmoid,
                                        .renormalize = false,
                                        .expert_bias = true,
                                        .bias = true}}>;

test::Setup everything() {
  test::Setup setup = test::with_losses();
  setup.options.router_noise = 0.5;
  setup.options.dropout.expert = 0.3;
  return setup;
}

TEST_CASE("MoE: backward equals the complex-step derivative with shared experts", "[gradient]") {
  CHECK(test::total_gradient_error<All>({}) < 1e-12);
  CHECK(test::total_gradient_error<Shared>({}) < 1e-12);
  CHECK(test::total_gradient_error<Shared>({.n = 1, .length = 1}) < 1e-12);
}

TEST_CASE(
    "MoE: backward equals the complex-step derivative with shared experts, losses, noise and "
    "dropout",
    "[gradient]") {
  CHECK(test::total_gradient_error<All>(everything()) < 1e-12);
  CHECK(test::total_gradient_error<Shared>(everything()) < 1e-12);
}

TEST_CASE("MoE: backward adds with shared experts", "[adds]") {
  CHECK(test::adding_error<Shared>(everything()) < 1e-13);
}

}  // namespace
