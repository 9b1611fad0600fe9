#include "../catch.hpp"
#include "routing.hpp"

namespace {

using namespace moe;

constexpr RouterTraits kept{Scoring::softmax, false}, sigmoid{Scoring::sigmoid},
    sigmoid_kept{Scoring::sigmoid, false, true, true}, biased{Scoring::softmax, true, true, true};
template <class B>
using Top1 = test::GatesOf<4, 1, 5, B, kept>;
template <class B>
using Top2 = test::GatesOf<4, 2, 5, B>;
template <class B>
using All = test::GatesOf<3, 3, 5, B, sigmoid>;
template <class B>
using Biased = test::GatesOf<4, 2, 5, B, biased>;
template <class B>
using SigmoidKept = test::GatesOf<4, 2, 5, B, sigmoid_kept>;

TEST_CASE("Router: backward equals the complex-step derivative of gates and auxiliary losses",
          "[gradient]") {
  const test::Setup losses = test::with_losses();
  CHECK(test::total_gradient_error<Top1>(losses) < 1e-12);
  CHECK(test::total_gradient_error<Top2>(losses) < 1e-12);
  CHECK(test::total_gradient_error<All>(losses) < 1e-12);
  CHECK(test::total_gradient_error<Biased>(losses) < 1e-12);
  CHECK(test::total_gradient_error<SigmoidKept>(losses) < 1e-12);
}

TEST_CASE("Router: each auxiliary loss has its own gradient", "[gradient]") {
  test::Setup balance, z, entropy;
  balance.options.balance_weight = 2;
  z.options.z_weight = 2;
  entropy.options.entropy_weight = 2;
  for (const test::Setup& setup : {balance, z, entropy}) {
    CHECK(test::total_gradient_error<Top2>(setup) < 1e-12);
    CHECK(test::total_gradient_error<SigmoidKept>(setup) < 1e-12);
  }
}

TEST_CASE("Router: backward equals the complex-step derivative with noise", "[gradient]") {
  test::Setup setup = test::with_losses();
  setup.options.router_noise = 0.8;
  CHECK(test::total_gradient_error<Top2>(setup) < 1e-12);
  CHECK(test::total_gradient_error<All>(setup) < 1e-12);
}

TEST_CASE("Router: backward adds", "[adds]") {
  CHECK(test::adding_error<Top2>(test::with_losses()) < 1e-13);
  CHECK(test::adding_error<SigmoidKept>(test::with_losses()) < 1e-13);
}

}  // namespace
