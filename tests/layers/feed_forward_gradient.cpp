#include <moe/layers/feed_forward.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

template <Activation A, bool Bias>
struct Of {
  template <class B>
  using Layer = FeedForward<5, 7, B, FeedForwardTraits{A, Bias}>;
};

template <Activation A>
double worst_gradient() {
  test::Setup dropout;
  dropout.options.dropout.expert = 0.3;
  return std::max({test::gradient_error<Of<A, true>::template Layer>(),
                   test::gradient_error<Of<A, true>::template Layer>({.n = 1, .length = 1}),
                   test::gradient_error<Of<A, true>::template Layer>(dropout)});
}

TEST_CASE("FeedForward: backward equals the complex-step derivative", "[gradient]") {
  CHECK(worst_gradient<Activation::gelu>() < 1e-12);
  CHECK(worst_gradient<Activation::gelu_tanh>() < 1e-12);
  CHECK(worst_gradient<Activation::silu>() < 1e-12);
  CHECK(worst_gradient<Activation::relu_squared>() < 1e-12);
  CHECK(worst_gradient<Activation::swiglu>() < 1e-12);
  CHECK(worst_gradient<Activation::geglu>() < 1e-12);
  CHECK(test::gradient_error<Of<Activation::gelu, false>::Layer>() < 1e-12);
  CHECK(test::gradient_error<Of<Activation::swiglu, false>::Layer>() < 1e-12);
}

TEST_CASE("FeedForward: backward adds", "[adds]") {
  CHECK(test::adding_error<Of<Activation::gelu, true>::Layer>() < 1e-13);
  CHECK(test::adding_error<Of<Activation::swiglu, true>::Layer>() < 1e-13);
  CHECK(test::adding_error<Of<Activation::swiglu, false>::Layer>() < 1e-13);
}

}  // namespace
