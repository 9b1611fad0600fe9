#include <moe/layers/feed_forward.hpp>
#include <moe/layers/norm.hpp>

#include "../catch.hpp"
#include "parity.hpp"

namespace {

using namespace moe;

template <class B>
using Projection = Linear<37, 43, B, true>;
template <class B>
using Rms = RMSNorm<37, B>;
template <class B>
using Norm37 = LayerNorm<37, B>;
template <class B>
using Narrow = LayerNorm<3, B, false>;

TEST_CASE("Cpu: linear maps and norms agree with the oracle", "[parity]") {
  CHECK(test::agrees<Projection>());
  CHECK(test::agrees<Rms>());
  CHECK(test::agrees<Norm37>());
  CHECK(test::agrees<Narrow>());
  CHECK(test::agrees<Norm37>({.n = 1, .length = 1}));
}

template <Activation A>
struct Of {
  template <class B>
  using Layer = FeedForward<37, 43, B, FeedForwardTraits{A, true}>;
};

TEST_CASE("Cpu: feed-forwards agree with the oracle for every activation", "[parity]") {
  test::Setup dropout{.n = 45, .length = 15};
  dropout.options.dropout.expert = 0.25;
  CHECK(test::agrees<Of<Activation::gelu>::Layer>(dropout));
  CHECK(test::agrees<Of<Activation::gelu_tanh>::Layer>());
  CHECK(test::agrees<Of<Activation::silu>::Layer>());
  CHECK(test::agrees<Of<Activation::relu_squared>::Layer>());
  CHECK(test::agrees<Of<Activation::swiglu>::Layer>(dropout));
  CHECK(test::agrees<Of<Activation::geglu>::Layer>());
}

}  // namespace
