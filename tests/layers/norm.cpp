#include <moe/layers/norm.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

template <class B>
using Rms = RMSNorm<7, B>;
template <class B>
using RmsOfOne = RMSNorm<1, B>;
template <class B>
using Full = LayerNorm<7, B>;
template <class B>
using NoBias = LayerNorm<7, B, false>;

TEST_CASE("RMSNorm: backward equals the complex-step derivative", "[gradient]") {
  CHECK(test::gradient_error<Rms>() < 1e-13);
  CHECK(test::gradient_error<Rms>({.n = 1, .length = 1}) < 1e-13);
  test::Setup large_eps;
  large_eps.options.norm_eps = 0.5;
  CHECK(test::gradient_error<Rms>(large_eps) < 1e-13);
  CHECK(test::gradient_error<RmsOfOne>(large_eps) < 1e-13);
}

TEST_CASE("LayerNorm: backward equals the complex-step derivative", "[gradient]") {
  CHECK(test::gradient_error<Full>() < 1e-13);
  CHECK(test::gradient_error<NoBias>() < 1e-13);
  test::Setup large_eps{.n = 1, .length = 1};
  large_eps.options.norm_eps = 0.5;
  CHECK(test::gradient_error<Full>(large_eps) < 1e-13);
}

TEST_CASE("RMSNorm and LayerNorm: backward adds", "[adds]") {
  CHECK(test::adding_error<Rms>() < 1e-13);
  CHECK(test::adding_error<Full>() < 1e-13);
  CHECK(test::adding_error<NoBias>() < 1e-13);
}

/// Whether backward gives the same dx when it is written over x, and `recompute` gives the y of
/// forward.
template <class L>
bool shares_memory_and_repeats() {
  Reference<double> be;
  const test::Setup setup{.n = 3};
  const Pass pass = setup.pass();
  test::Owned<typename L::Params, Reference<double>> params(be), grad(be), grad_over(be);
  test::Owned<typename L::Cache, Reference<double>> cache(be, setup.n);
  typename L::Scratch scratch{};
  test::set_leaves(params.tree,
                   test::random_numbers(test::parameter_elements<typename L::Params>(), 1));
  std::vector<double> x = test::random_numbers(21, 2), y(21), again(21), dx(21);
  const auto dy = test::random_numbers(21, 3);
  L::forward(be, pass, params.tree, {x.data(), 3}, {y.data(), 3}, cache.tree, scratch);
  L::recompute(be, params.tree, {x.data(), 3}, cache.tree, {again.data(), 3});
  L::backward(be, pass, params.tree, {x.data(), 3}, cache.tree, {dy.data(), 3}, {dx.data(), 3},
              grad.tree, scratch, false);
  L::backward(be, pass, params.tree, {x.data(), 3}, cache.tree, {dy.data(), 3}, {x.data(), 3},
              grad_over.tree, scratch, false);
  return again == y && x == dx &&
         test::get_leaves<double>(grad.tree) == test::get_leaves<double>(grad_over.tree);
}

TEST_CASE("RMSNorm and LayerNorm: dx may be written over x, and y recomputed", "[identity]") {
  CHECK(shares_memory_and_repeats<Rms<Reference<double>>>());
  CHECK(shares_memory_and_repeats<Full<Reference<double>>>());
  CHECK(shares_memory_and_repeats<NoBias<Reference<double>>>());
}

/// y of three rows with gain 1 and bias 0.
template <class L>
std::vector<double> normalised(std::vector<double> x, double eps) {
  Reference<double> be;
  test::Setup setup{.n = 3};
  setup.options.norm_eps = eps;
  std::vector<double> theta(test::parameter_elements<typename L::Params>(), 0.0);
  std::fill_n(theta.begin(), 7, 1.0);
  test::Run<L> run(be, setup, theta, x);
  return run.forward();
}
double mean(const std::vector<double>& v, bool square) {
  double sum = 0;
  for (const double e : v) sum += square ? e * e : e;
  return sum / double(v.size());
}

TEST_CASE("RMSNorm: every row leaves with mean square 1", "[identity]") {
  const auto y = normalised<Rms<Reference<double>>>(test::some_rows(3, 7), 0);
  for (int r = 0; r < 3; ++r) CHECK(std::abs(mean(test::row(y, r, 7), true) - 1) < 1e-14);
}

TEST_CASE("LayerNorm: every row leaves with mean 0 and variance 1", "[identity]") {
  const auto y = normalised<Full<Reference<double>>>(test::some_rows(3, 7), 0);
  for (int r = 0; r < 3; ++r) {
    CHECK(std::abs(mean(test::row(y, r, 7), false)) < 1e-14);
    CHECK(std::abs(mean(test::row(y, r, 7), true) - 1) < 1e-14);
  }
}

TEST_CASE("RMSNorm and LayerNorm: scaling changes nothing, shifting only RMSNorm", "[identity]") {
  const auto x = test::some_rows(3, 7);
  auto scaled = x, moved = x;
  for (double& e : scaled) e *= 8;
  for (double& e : moved) e += 8;
  using R = Rms<Reference<double>>;
  using L = Full<Reference<double>>;
  CHECK(test::largest_difference(normalised<R>(x, 0), normalised<R>(scaled, 0)) < 1e-14);
  CHECK(test::largest_difference(normalised<R>(x, 0), normalised<R>(moved, 0)) > 0.1);
  CHECK(test::largest_difference(normalised<L>(x, 0), normalised<L>(scaled, 0)) < 1e-14);
  CHECK(test::largest_difference(normalised<L>(x, 0), normalised<L>(moved, 0)) < 1e-13);
}

TEST_CASE("RMSNorm and LayerNorm: eps is inside the root", "[identity]") {
  std::vector<double> x(21);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 7 == 3 ? 2 : 0;
  const double eps = 0.3;
  CHECK(std::abs(normalised<Rms<Reference<double>>>(x, eps)[3] - 2 / std::sqrt(4.0 / 7 + eps)) <
        1e-15);
  CHECK(std::abs(normalised<Full<Reference<double>>>(x, eps)[3] -
                 (12.0 / 7) / std::sqrt(24.0 / 49 + eps)) < 1e-15);
}

TEST_CASE("RMSNorm and LayerNorm: a row of zeros has finite values and gradients", "[edge]") {
  Reference<double> be;
  const auto finite = [&]<class L>(L) {
    test::Run<L> run(be, {.n = 2, .length = 1}, test::some_theta<L>(), std::vector<double>(14));
    const auto y = run.forward(), dx = run.backward(test::some_rows(2, 7));
    return std::isfinite(test::largest(y)) && std::isfinite(test::largest(dx)) &&
           test::largest(dx) > 0;
  };
  CHECK(finite(Rms<Reference<double>>{}));
  CHECK(finite(Full<Reference<double>>{}));
}

TEST_CASE("RMSNorm and LayerNorm: no rows leave the gradients as they are", "[edge]") {
  Reference<double> be;
  test::Run<Full<Reference<double>>> full(be, {.n = 0}, std::vector<double>(14, 1.0), {});
  full.forward();
  full.backward({});
  CHECK(test::largest(full.gradients()) == 0);
  test::Run<Rms<Reference<double>>> rms(be, {.n = 0}, std::vector<double>(7, 1.0), {});
  rms.forward();
  rms.backward({});
  CHECK(test::largest(rms.gradients()) == 0);
}

TEST_CASE("NormOf: names the norm of a configuration", "[config]") {
  using B = Reference<double>;
  CHECK(std::is_same_v<NormOf<Norm::rms, 7, B, true>, RMSNorm<7, B>>);
  CHECK(std::is_same_v<NormOf<Norm::layer, 7, B, true>, LayerNorm<7, B, true>>);
  CHECK(std::is_same_v<NormOf<Norm::layer, 7, B, false>, LayerNorm<7, B, false>>);
}

}  // namespace
