#include <moe/layers/attention.hpp>
#include <moe/layers/mixture_of_experts.hpp>
#include <moe/layers/norm.hpp>

#include "../catch.hpp"
#include "parity.hpp"

// Layers whose activations are stored as bfloat16, against exact arithmetic. A bound is at most
// three times the error that was measured; half a unit in the last place of 1 is 2^-8 = 0.004.

namespace {

using namespace moe;
using Mixed = Reference<float, bfloat16>;

template <class B>
using Projection = Linear<37, 43, B, true>;
template <class B>
using Rms = RMSNorm<37, B>;
template <class B>
using Norm37 = LayerNorm<37, B>;
template <class B>
using Gated = FeedForward<37, 21, B>;
template <class B>
using Gelu = FeedForward<37, 21, B, FeedForwardTraits{Activation::gelu, true}>;
template <class B>
using Grouped = Attention<4, 2, 40, 15, B>;
template <class B>
using Normed = Attention<3, 1, 42, 15, B, AttentionTraits{Position::rope_interleaved, true, true}>;
template <class B>
using Learned = Attention<2, 2, 38, 15, B, AttentionTraits{Position::learned, true}>;
template <class B>
using Mixture = MoE<8, 2, 37, 21, B>;
template <class B>
using Shared = MoE<5, 3, 37, 19, B,
                   MoeTraits{.activation = Activation::gelu,
                             .bias = true,
                             .shared_experts = 2,
                             .router = {.scoring = Scoring::sigmoid,
                                        .renormalize = false,
                                        .expert_bias = true,
                                        .bias = true}}>;

/// Whether the error is within the bound, and above a thousandth of it, which shows that some
/// numbers are rounded to bfloat16.
bool within_bound(double error, double bound) {
  UNSCOPED_INFO("error " << error << " of " << bound);
  return error < bound && error > bound / 1000;
}
/// Whether the errors of the oracle and of the CPU are within the bound.
template <template <class> class LayerOf>
bool within(double bound, const test::Setup& setup = {.n = 45, .length = 15}) {
  Mixed be;
  Cpu<bfloat16> cpu{2};
  return within_bound(test::parity_error<LayerOf>(be, setup), bound) &&
         within_bound(test::parity_error<LayerOf>(cpu, setup), bound);
}

TEST_CASE("bfloat16: a linear map and the norms are right to the last place", "[mixed]") {
  CHECK(within<Projection>(0.006));  // measured 0.0028
  CHECK(within<Rms>(0.005));         // 0.0024
  CHECK(within<Norm37>(0.005));      // 0.0025
}

TEST_CASE("bfloat16: feed-forwards are right to the last places", "[mixed]") {
  CHECK(within<Gated>(0.012));  // 0.0057
  CHECK(within<Gelu>(0.009));   // 0.0040
}

TEST_CASE("bfloat16: attention is right to the last places", "[mixed]") {
  CHECK(within<Grouped>(0.014));  // 0.0065
  CHECK(within<Normed>(0.016));   // 0.0078
  CHECK(within<Learned>(0.017));  // 0.0082
}

TEST_CASE("bfloat16: mixtures of experts are right to the last places", "[mixed]") {
  CHECK(within<Mixture>(0.013));  // 0.0062
  CHECK(within<Shared>(0.015));   // 0.0074
}

TEST_CASE("bfloat16: the router is exact", "[mixed]") {
  using R = Router<5, 2, 37, Mixed, RouterTraits{}>;
  Mixed be;
  const auto theta = test::some_theta<R>(), x = test::some_rows(9, 37);
  test::Owned<R::Params, Mixed> params(be);
  test::Owned<R::Cache, Mixed> cache(be, 9);
  test::set_leaves(params.tree, test::converted<float>(theta));
  const auto narrow = test::converted<bfloat16>(x);
  const test::Setup setup{.n = 9};
  R::forward(be, setup.pass(), params.tree, {narrow.data(), 9}, cache.tree);
  double worst = 0;
  for (int r = 0; r < 9; ++r)
    for (int e = 0; e < 5; ++e) {
      double logit = 0;
      for (int i = 0; i < 37; ++i)
        logit +=
            double(float(theta[std::size_t(e * 37 + i)])) * double(narrow[std::size_t(r * 37 + i)]);
      worst = std::max(worst, std::abs(double(cache.tree.logits.data[r * 5 + e]) - logit));
    }
  CHECK(worst < 2e-5);
}

}  // namespace
