#include <moe/layers/attention.hpp>
#include <moe/layers/mixture_of_experts.hpp>
#include <moe/layers/norm.hpp>

#include "../catch.hpp"
#include "run.hpp"

// Tests the last argument of backward: if `add` is false, dx is written and never read.

namespace {

using namespace moe;
using B = Reference<double>;

template <class L>
bool written_equals_added_to_zero() {
  B be;
  const test::Setup setup;
  const auto theta = test::some_theta<L>(), x = test::some_rows(setup.n, L::in),
             dy = test::some_rows(setup.n, L::out, 3);
  test::Run<L> added(be, setup, theta, x), written(be, setup, theta, x);
  added.forward();
  written.forward();
  const std::vector<double> expected = added.backward(dy);
  written.forward();  // the scratch is full of numbers that backward must not take for gradients
  std::fill(written.dx.begin(), written.dx.end(), double(NAN));
  L::backward(be, setup.pass(), written.params.tree, {written.x.data(), setup.n},
              written.cache.tree, {dy.data(), setup.n}, {written.dx.data(), setup.n},
              written.grad.tree, written.scratch.tree, false);
  return written.dx == expected && written.gradients() == added.gradients() &&
         test::largest(expected) > 0;
}

TEST_CASE("Layers: backward writes dx where it is told not to add", "[adds]") {
  CHECK(written_equals_added_to_zero<Linear<7, 5, B, true>>());
  CHECK(written_equals_added_to_zero<RMSNorm<7, B>>());
  CHECK(written_equals_added_to_zero<LayerNorm<7, B>>());
  CHECK(written_equals_added_to_zero<FeedForward<6, 5, B>>());
  CHECK(written_equals_added_to_zero<
        FeedForward<6, 5, B, FeedForwardTraits{Activation::gelu, true}>>());
  CHECK(written_equals_added_to_zero<Attention<4, 2, 8, 3, B>>());
  CHECK(written_equals_added_to_zero<
        Attention<2, 1, 8, 3, B, AttentionTraits{Position::learned, true, true}>>());
  CHECK(written_equals_added_to_zero<MoE<4, 2, 6, 5, B>>());
  CHECK(written_equals_added_to_zero<
        MoE<4, 2, 6, 5, B,
            MoeTraits{.activation = Activation::gelu, .bias = true, .shared_experts = 1}>>());
}

}  // namespace
