#include <moe/layers/mixture_of_experts.hpp>

#include "../catch.hpp"
#include "parity.hpp"

// Activations of a user's own. They are defined in this file, and no line of the library knows
// them.

namespace {

using namespace moe;

/// Mish, x tanh(log(1 + e^x)) = x t / (t + 2) with t = e^x (e^x + 2).
template <class T>
struct Mish {
  static constexpr bool gated = false;
  template <class V>
  MOE_KERNEL static kernel::Slope<V> at(const V& x) {
    const V u = kernel::exp(x), t = u * (u + T(2)), d = t + T(2), share = t / d;
    return {x * share, share + x * T(4) * u * (u + T(1)) / (d * d)};
  }
};
/// Mish behind a gate.
template <class T>
using GatedMish = kernel::Gated<Mish<T>>;

template <template <class> class Act>
struct Of {
  template <class B>
  using FeedForward = moe::FeedForward<5, 7, B, FeedForwardTraits{.bias = true}, Act<Wide<B>>>;
  template <class B>
  using Mixture = MoE<4, 2, 5, 7, B, MoeTraits{.bias = true, .shared_experts = 1},
                      Router<4, 2, 5, B, RouterTraits{.bias = true}>, Act<Wide<B>>>;
};

TEST_CASE("An activation of a user's own: value", "[activation]") {
  const auto at = Mish<double>::at(1.0);
  CHECK(std::abs(at.value - std::tanh(std::log1p(std::exp(1.0)))) < 1e-15);
}

TEMPLATE_TEST_CASE("An activation of a user's own: backward is the complex-step derivative",
                   "[gradient]", Of<Mish>, Of<GatedMish>) {
  CHECK(test::gradient_error<TestType::template FeedForward>() < 1e-12);
  CHECK(test::gradient_error<TestType::template Mixture>() < 1e-12);
}

TEMPLATE_TEST_CASE("An activation of a user's own: the Cpu agrees with the oracle", "[parity]",
                   Of<Mish>, Of<GatedMish>) {
  CHECK(test::agrees<TestType::template FeedForward>());
  CHECK(test::agrees<TestType::template Mixture>());
}

}  // namespace
