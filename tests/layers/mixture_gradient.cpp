#include <moe/layers/mixture_of_experts.hpp>

#include "../catch.hpp"
#include "routing.hpp"

namespace {

using namespace moe;

template <class B>
using Top1 = MoE<3, 1, 5, 3, B,
                 MoeTraits{.activation = Activation::gelu,
                           .bias = true,
                           .router = {.renormalize = false, .expert_bias = true, .bias = true}}>;
template <class B>
using Top2 = MoE<4, 2, 5, 3, B>;

test::Setup everything() {
  test::Setup setup = test::with_losses();
  setup.options.router_noise = 0.5;
  setup.options.dropout.expert = 0.3;
  return setup;
}

TEST_CASE("MoE: backward equals the complex-step derivative", "[gradient]") {
  CHECK(test::gradient_error<Top2>() < 1e-12);
  CHECK(test::total_gradient_error<Top1>({}) < 1e-12);
}

TEST_CASE("MoE: backward equals the complex-step derivative with losses, noise and dropout",
          "[gradient]") {
  CHECK(test::total_gradient_error<Top1>(everything()) < 1e-12);
  CHECK(test::total_gradient_error<Top2>(everything()) < 1e-12);
}

TEST_CASE("MoE: backward equals the complex-step derivative under uniform routing", "[gradient]") {
  test::Setup setup = everything();
  setup.options.round_robin_routing = true;
  CHECK(test::total_gradient_error<Top2>(setup) < 1e-12);
}

TEST_CASE("MoE: backward adds", "[adds]") {
  CHECK(test::adding_error<Top2>(everything()) < 1e-13);
}

}  // namespace
