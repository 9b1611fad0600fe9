#include <moe/layers/feed_forward.hpp>

#include "../catch.hpp"
#include "parity.hpp"

namespace {

using namespace moe;

template <Activation A>
struct Of {
  template <class B>
  using Layer = FeedForward<37, 43, B, FeedForwardTraits{A, true}>;
};

TEST_CASE("Cpu: feed-forwards agree with the oracle with every activation kernel", "[parity]") {
  test::Setup dropout{.n = 45, .length = 15};
  dropout.options.dropout.expert = 0.25;
  CHECK(test::agrees<Of<Activation::gelu>::Layer>(dropout));
  CHECK(test::agrees<Of<Activation::gelu_tanh>::Layer>());
  CHECK(test::agrees<Of<Activation::relu_squared>::Layer>());
  CHECK(test::agrees<Of<Activation::swiglu>::Layer>(dropout));
}

}  // namespace
