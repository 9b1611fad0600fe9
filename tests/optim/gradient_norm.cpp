#include <moe/optim/gradient_norm.hpp>

#include "catch.hpp"
#include "model.hpp"

namespace {

using namespace moe;
using moe::test::TinyModel;

/// A norm, and what it decides.
template <class B>
struct Measured {
  TinyModel<B> model;
  GradientNorm<B, typename TinyModel<B>::Params> norm{model.backend(), model.grads()};
  Arena<B> memory{model.backend(), sizeof(kernel::StepControl)};

  const kernel::StepControl& decide(double clip = 1) {
    auto* const control = reinterpret_cast<kernel::StepControl*>(memory.data());
    norm.decide(clip, model.loss_not_finite(), control);
    return *control;
  }
  std::string first_bad_leaf() {
    const int leaf = decide().first_bad_leaf;
    return leaf < 0 ? "" : leaf_names<typename TinyModel<B>::Params>()[std::size_t(leaf)];
  }
};

template <class B>
void check_norm(double tolerance) {
  Measured<B> x;
  x.model.draw_grads(1);
  const double expected = moe::test::norm_of(moe::test::values(x.model.grads()));
  CHECK(std::abs(x.decide().norm - expected) < tolerance * expected);
  CHECK(x.first_bad_leaf().empty());
}

}  // namespace

TEST_CASE("GradientNorm: the root of the sum of all squares", "[optim]") {
  check_norm<Reference<double>>(1e-14);
  check_norm<Reference<float>>(1e-6);
#ifdef MOE_TEST_HAS_CPU
  check_norm<Cpu<double>>(1e-14);
  check_norm<Cpu<float>>(1e-6);
#endif
}

TEST_CASE("GradientNorm: expert biases do not count", "[optim]") {
  Measured<Reference<double>> x;
  x.model.grads().blocks[1].expert_bias.data[0] = 1e6;
  CHECK(x.decide().norm == 0);
  x.model.grads().blocks[1].gain.data[2] = -3;
  x.model.grads().head.data[54] = 4;
  CHECK(x.decide().norm == 5);
}

TEST_CASE("GradientNorm: knows the square of each matrix", "[optim]") {
  Measured<Reference<double>> x;
  x.model.grads().blocks[0].up.matrix(1)[3] = 2;
  CHECK(x.decide().norm == 2);
  const std::size_t up = 5;  // embedding, position, gain, q, router come before it
  CHECK(x.norm.squares()[up] == 0);
  CHECK(x.norm.squares()[up + 1] == 4);
  CHECK(x.norm.squares()[up + 2] == 0);
}

TEST_CASE("GradientNorm: names the first leaf that is not finite", "[optim]") {
  Measured<Reference<float>> x;
  const float infinity = std::numeric_limits<float>::infinity();
  x.model.grads().blocks[1].router.data[1] = -infinity;
  x.model.grads().head.data[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(!std::isfinite(x.decide().norm));
  CHECK(x.first_bad_leaf() == "blocks.1.router");
  x.model.grads().embedding.data[1499] = 1e30f;  // its square overflows
  CHECK(!std::isfinite(x.decide().norm));
  CHECK(x.first_bad_leaf() == "embedding");
  x.model.zero_grads();
  CHECK(x.decide().norm == 0);
  CHECK(x.first_bad_leaf().empty());
}

TEST_CASE("GradientNorm: clipping reduces a gradient and never enlarges it", "[optim]") {
  Measured<Reference<double>> x;
  const auto scale = [&](double norm, double clip) {
    x.model.grads().head.data[3] = norm;
    return x.decide(clip).grad_scale;
  };
  CHECK(scale(0, 1) == 1);
  CHECK(scale(1, 1) == 1);
  CHECK(scale(4, 1) == 0.25);
  CHECK(scale(4, std::numeric_limits<double>::infinity()) == 1);
}

TEST_CASE("GradientNorm: counts updates and skips, and reads each loss once", "[optim]") {
  Measured<Reference<double>> x;
  x.model.grads().head.data[3] = 2;
  CHECK(x.decide().updates == 1);
  x.model.set_loss(NAN);
  CHECK(x.decide().skip == 1);
  const kernel::StepControl& now = x.decide();  // the loss of before is forgotten
  CHECK((now.skip == 0 && now.loss_not_finite == 0));
  CHECK((now.updates == 2 && now.skipped == 1 && now.consecutive_skips == 0));
  CHECK(now.last_finite_norm == 2);
  x.model.grads().head.data[3] = INFINITY;
  x.decide();
  CHECK((now.skip == 1 && now.consecutive_skips == 1 && now.grad_scale == 0));
  CHECK(now.last_finite_norm == 2);
}
