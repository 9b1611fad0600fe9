#include <moe/layers/feed_forward.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

template <class Act>
double value(double x) {
  return Act::at(x).value;
}
bool near(double a, double b) {
  return std::abs(a - b) < 1e-15 * (1 + std::abs(b));
}

TEST_CASE("Activations: known values", "[external]") {
  CHECK(near(value<kernel::Gelu<double>>(1), 0.84134474606854294859));
  CHECK(near(value<kernel::Gelu<double>>(-2), -0.04550026389635841440));
  CHECK(near(value<kernel::GeluTanh<double>>(1), 0.84119199060827670478));
  CHECK(near(value<kernel::Silu<double>>(1), 0.73105857863000487926));
  CHECK(near(value<kernel::Silu<double>>(-3), -0.14227761953270034264));
  CHECK(value<kernel::ReluSquared<double>>(3) == 9);
  CHECK(value<kernel::ReluSquared<double>>(-3) == 0);
}

TEST_CASE("Activations: far out they are 0 or x, with finite slopes", "[edge]") {
  const auto check_far = [](auto act, double identity) {
    const auto down = act.at(-1e4), up = act.at(1e4);
    CHECK(down.value == 0);
    CHECK(down.derivative == 0);
    CHECK(up.value == identity);
    CHECK(std::isfinite(up.derivative));
  };
  check_far(kernel::Gelu<double>{}, 1e4);
  check_far(kernel::GeluTanh<double>{}, 1e4);
  check_far(kernel::Silu<double>{}, 1e4);
  check_far(kernel::ReluSquared<double>{}, 1e8);
}

using B = Reference<double>;

TEST_CASE("FeedForward: equals its formula with and without a gate", "[identity]") {
  B be;
  using Gated = FeedForward<1, 1, B, FeedForwardTraits{Activation::swiglu, true}>;
  // gate 2 x + 0.5, up 3 x - 1, down 4 h + 0.25 at x = 1
  test::Run<Gated> gated(be, {.n = 1, .length = 1}, {2, 0.5, 3, -1, 4, 0.25}, {1});
  CHECK(near(gated.forward()[0], 4 * (2.5 / (1 + std::exp(-2.5))) * 2 + 0.25));
  using Plain = FeedForward<1, 1, B, FeedForwardTraits{Activation::relu_squared, true}>;
  test::Run<Plain> plain(be, {.n = 1, .length = 1}, {3, -1, 4, 0.25}, {1});
  CHECK(plain.forward()[0] == 4 * 4 + 0.25);
}

TEST_CASE("FeedForward: dropout drops its share of the hidden row, in training only",
          "[statistics]") {
  B be;
  using Wide = FeedForward<1, 1, B, FeedForwardTraits{Activation::relu_squared}>;
  const int n = 4000;
  test::Setup setup{.n = n, .length = n};
  setup.options.dropout.expert = 0.25;
  test::Run<Wide> run(be, setup, {1, 1}, std::vector<double>(std::size_t(n), 1.0));
  const auto y = run.forward();
  const auto dropped = std::count(y.begin(), y.end(), 0.0);
  CHECK(std::count(y.begin(), y.end(), 1 / 0.75) == n - dropped);
  CHECK(std::abs(double(dropped) - 0.25 * n) < 4 * std::sqrt(n * 0.25 * 0.75));
  Pass pass = run.setup.pass();
  pass.step += 1;
  CHECK(run.forward(pass) != y);  // the next step drops others
  pass.training = false;
  CHECK(run.forward(pass) == std::vector<double>(std::size_t(n), 1.0));
}

TEST_CASE("FeedForward: no rows leave the gradients as they are", "[edge]") {
  B be;
  using L = FeedForward<5, 7, B, FeedForwardTraits{Activation::geglu, true}>;
  test::Run<L> run(be, {.n = 0, .length = 1}, test::some_theta<L>(), {});
  run.forward();
  run.backward({});
  CHECK(test::largest(run.gradients()) == 0);
}

}  // namespace
