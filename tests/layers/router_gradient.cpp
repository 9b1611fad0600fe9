#include "../catch.hpp"
#include "routing.hpp"

namespace {

using namespace moe;

constexpr RouterTraits kept{.renormalize = false}, sigmoid{.scoring = Scoring::sigmoid},
    sigmoid_kept{Scoring::sigmoid, false, true, true}, biased{Scoring::softmax, true, true, true};
// g++ 12 gives templates over alias templates of one name the same symbol, even if the aliases are
// in different unnamed namespaces. So these names must differ from those of all other files of the
// program.
template <class B>
using RouterTop1 = test::GatesOf<4, 1, 5, B, kept>;
template <class B>
using RouterTop2 = test::GatesOf<4, 2, 5, B>;
template <class B>
using RouterAll = test::GatesOf<3, 3, 5, B, sigmoid>;
template <class B>
using Biased = test::GatesOf<4, 2, 5, B, biased>;
template <class B>
using SigmoidKept = test::GatesOf<4, 2, 5, B, sigmoid_kept>;

TEST_CASE("Router: backward equals the complex-step derivative of gates and auxiliary losses",
          "[gradient]") {
  const test::Setup losses = test::with_losses();
  CHECK(test::total_gradient_error<RouterTop1>(losses) < 1e-12);
  CHECK(test::total_gradient_error<RouterTop2>(losses) < 1e-12);
  CHECK(test::total_gradient_error<RouterAll>(losses) < 1e-12);
  CHECK(test::total_gradient_error<Biased>(losses) < 1e-12);
  CHECK(test::total_gradient_error<SigmoidKept>(losses) < 1e-12);
}

TEST_CASE("Router: each auxiliary loss has its own gradient", "[gradient]") {
  test::Setup balance, z, entropy;
  balance.options.balance_weight = 2;
  z.options.z_weight = 2;
  entropy.options.entropy_weight = 2;
  for (const test::Setup& setup : {balance, z, entropy}) {
    CHECK(test::total_gradient_error<RouterTop2>(setup) < 1e-12);
    CHECK(test::total_gradient_error<SigmoidKept>(setup) < 1e-12);
  }
}

TEST_CASE("Router: backward equals the complex-step derivative with noise", "[gradient]") {
  test::Setup setup = test::with_losses();
  setup.options.router_noise = 0.8;
  CHECK(test::total_gradient_error<RouterTop2>(setup) < 1e-12);
  CHECK(test::total_gradient_error<RouterAll>(setup) < 1e-12);
}

/// The gradient error with random weights, and with these biases of the router and of the experts.
template <template <class> class LayerOf>
double error_at(const std::vector<double>& bias, const std::vector<double>& expert_bias,
                const test::Setup& setup = test::with_losses()) {
  auto theta = test::some_theta<LayerOf<Reference<double>>>();
  auto at = theta.end() - std::ptrdiff_t(bias.size() + expert_bias.size());
  at = std::copy(bias.begin(), bias.end(), at);
  std::copy(expert_bias.begin(), expert_bias.end(), at);
  return test::total_gradient_error<LayerOf>(setup, theta);
}

constexpr RouterTraits sigmoid_biased{
    .scoring = Scoring::sigmoid, .expert_bias = true, .bias = true};
template <class B>
using SigmoidBiased = test::GatesOf<4, 2, 5, B, sigmoid_biased>;

TEST_CASE("Router: backward equals the complex-step derivative where scores are too small",
          "[gradient][edge]") {
  const std::vector<double> none(4);
  for (const double low : {-95.0, -700.0, -1000.0, -30000.0}) {
    CAPTURE(low);
    CHECK(error_at<SigmoidBiased>({low, low, low, low}, none) < 1e-12);
    CHECK(error_at<SigmoidBiased>({low, 2 * low, low, -low}, {0, 0, 3, 0}) < 1e-12);
    CHECK(error_at<SigmoidKept>({low, low, low, low}, none) < 1e-12);
    // The expert bias picks experts far below the best.
    CHECK(error_at<Biased>({0, 0, low, low}, {0, 0, 5, 5}) < 1e-12);
    CHECK(error_at<Biased>({low, low, 0, 0}, {7, 0, 0, 6}) < 1e-12);
  }
}

TEST_CASE("Router: backward equals the complex-step derivative with uniform routing",
          "[gradient][edge]") {
  test::Setup setup = test::with_losses();
  setup.options.round_robin_routing = true;
  for (const double gap : {0.0, 120.0, 1000.0}) {
    CAPTURE(gap);
    CHECK(error_at<Biased>({gap, 0, 0, 0}, {0, 0, 0, 0}, setup) < 1e-12);
    CHECK(error_at<Biased>({0, -gap, gap, 2 * gap}, {0, 0, 0, 0}, setup) < 1e-12);
    CHECK(error_at<SigmoidBiased>({gap, -gap, -gap, -gap}, {0, 0, 0, 0}, setup) < 1e-12);
    CHECK(error_at<SigmoidKept>({gap, -gap, -gap, -gap}, {0, 0, 0, 0}, setup) < 1e-12);
  }
}

TEST_CASE("Router: backward adds", "[adds]") {
  CHECK(test::adding_error<RouterTop2>(test::with_losses()) < 1e-13);
  CHECK(test::adding_error<SigmoidKept>(test::with_losses()) < 1e-13);
}

}  // namespace
