#include <moe/optim/gradient_norm.hpp>

#include "catch.hpp"
#include "model.hpp"

using moe::test::TinyModel;

namespace {
template <class B>
using Norm = moe::GradientNorm<B, typename TinyModel<B>::Params>;

template <class B>
void check_norm(double tolerance) {
  TinyModel<B> model;
  Norm<B> norm{model.backend()};
  model.draw_grads(1);
  const double expected = moe::test::norm_of(moe::test::values(model.grads()));
  CHECK(std::abs(norm.measure(model.grads()) - expected) < tolerance * expected);
  CHECK(norm.first_non_finite().empty());
}
}  // namespace

TEST_CASE("GradientNorm: the root of the sum of all squares", "[optim]") {
  check_norm<moe::Reference<double>>(1e-14);
  check_norm<moe::Reference<float>>(1e-6);
#ifdef MOE_TEST_HAS_CPU
  check_norm<moe::Cpu<double>>(1e-14);
  check_norm<moe::Cpu<float>>(1e-6);
#endif
}

TEST_CASE("GradientNorm: expert biases do not count", "[optim]") {
  TinyModel<moe::Reference<double>> model;
  Norm<moe::Reference<double>> norm{model.backend()};
  model.grads().blocks[1].expert_bias.data[0] = 1e6;
  CHECK(norm.measure(model.grads()) == 0);
  model.grads().blocks[1].gain.data[2] = -3;
  model.grads().head.data[54] = 4;
  CHECK(norm.measure(model.grads()) == 5);
}

TEST_CASE("GradientNorm: knows the square of each matrix", "[optim]") {
  TinyModel<moe::Reference<double>> model;
  Norm<moe::Reference<double>> norm{model.backend()};
  model.grads().blocks[0].up.matrix(1)[3] = 2;
  CHECK(norm.measure(model.grads()) == 2);
  const std::size_t up = 5;  // embedding, position, gain, q, router come before it
  CHECK(norm.squares()[up] == 0);
  CHECK(norm.squares()[up + 1] == 4);
  CHECK(norm.squares()[up + 2] == 0);
}

TEST_CASE("GradientNorm: names the first leaf that is not finite", "[optim]") {
  TinyModel<moe::Reference<float>> model;
  Norm<moe::Reference<float>> norm{model.backend()};
  const float infinity = std::numeric_limits<float>::infinity();
  model.grads().blocks[1].router.data[1] = -infinity;
  model.grads().head.data[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(!std::isfinite(norm.measure(model.grads())));
  CHECK(norm.first_non_finite() == "blocks.1.router");
  model.grads().embedding.data[1499] = 1e30f;  // its square overflows
  CHECK(!std::isfinite(norm.measure(model.grads())));
  CHECK(norm.first_non_finite() == "embedding");
  model.zero_grads();
  CHECK(norm.measure(model.grads()) == 0);
  CHECK(norm.first_non_finite().empty());
}

TEST_CASE("clip_factor: never enlarges a gradient", "[optim]") {
  CHECK(moe::clip_factor(0, 1) == 1);
  CHECK(moe::clip_factor(1, 1) == 1);
  CHECK(moe::clip_factor(4, 1) == 0.25);
  CHECK(moe::clip_factor(4, std::numeric_limits<double>::infinity()) == 1);
}
