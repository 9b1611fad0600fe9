#pragma once
#include <moe/layers/router.hpp>

#include "run.hpp"

namespace moe::test {

/// A router as a layer whose output y are the gates.
template <int Experts, int TopK, int Dim, class B, RouterTraits Traits = RouterTraits{}>
struct GatesOf {
  using T = Value<B>;
  using Route = Router<Experts, TopK, Dim, B, Traits>;
  static constexpr int in = Dim, out = TopK;
  using Params = typename Route::Params;
  using Cache = typename Route::Cache;
  using Scratch = typename Route::Scratch;
  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch&) {
    Route::forward(be, pass, p, x, c);
    if (x.count > 0) copy<B, T, TopK, 1>(be, y, c.gates);
  }
  static void backward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                       const Cache& c, Rows<const T, out> dy, Rows<T, in> dx, Params& grad,
                       Scratch& s) {
    Route::backward(be, pass, p, x, c, dy, dx, grad, s);
  }
};

/// The cache of the router: `cache` itself, or its part if it is a mixture's.
const auto& router_of(const auto& cache) {
  if constexpr (requires { cache.router; }) {
    return cache.router;
  } else {
    return cache;
  }
}

/// The balance loss, experts * sum_e f_e P_e. f comes from the slots and has no derivative.
template <class Cache>
auto balance_loss(const Cache& router) {
  constexpr int experts = decltype(router.logits)::cols;
  using T = typename decltype(router.logits)::Value;
  T sum(0);
  for (int e = 0; e < experts; ++e) {
    const double slots = router.report.offset[e + 1] - router.report.offset[e];
    sum = sum + T(experts * slots / router.report.offset[experts]) * router.report.mean_probs[e];
  }
  return sum;
}

/// What backward differentiates: <y, dy> plus the auxiliary losses with their weights.
template <class L, class B>
Value<B> total_loss(Run<L, B>& run, const Pass& pass, const std::vector<double>& dy) {
  using T = Value<B>;
  const auto y = run.forward(pass);
  T total(0);
  for (std::size_t i = 0; i < y.size(); ++i) total = total + T(dy[i]) * y[i];
  const auto& router = router_of(run.cache.tree);
  const Options& o = *pass.options;
  return total +
         T(pass.loss_scale / pass.moe_layers) *
             (T(o.balance_weight) * balance_loss(router) + T(o.z_weight) * router.report.means[0] -
              T(o.entropy_weight) * router.report.means[1]);
}

/// Largest |complex step of the total loss - backward|, as in gradient_error, except that the
/// expert bias is left out, as it has no gradient. `theta`: parameters in the order of their
/// declaration.
template <template <class> class LayerOf>
double total_gradient_error(const Setup& setup, const std::vector<double>& theta =
                                                    some_theta<LayerOf<Reference<double>>>()) {
  using R = LayerOf<Reference<double>>;
  using Z = LayerOf<Reference<Complex>>;
  const auto x = some_rows(setup.n, R::in), dy = some_rows(setup.n, R::out, 3);
  const auto pass_of = [](const Setup& s) {
    Pass pass = s.pass();
    pass.moe_layers = 3;
    pass.loss_scale = 0.25;
    return pass;
  };
  Reference<double> be;
  Run<R> claimed(be, setup, theta, x);
  claimed.forward(pass_of(claimed.setup));
  claimed.backward(pass_of(claimed.setup), dy);
  std::vector<bool> learned;
  for_each_leaf(
      [&](const auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        learned.insert(learned.end(), leaf.size, Leaf::role != Role::expert_bias);
      },
      claimed.params.tree);
  const auto dtheta = claimed.gradients();

  Reference<Complex> complex;
  Run<Z, Reference<Complex>> run(complex, setup, theta, x);
  double worst = 0, largest = 1;
  const auto compare = [&](Complex& number, double claim) {
    number.im = 1e-30;
    const Complex f = total_loss(run, pass_of(run.setup), dy);
    number.im = 0;
    const double difference = std::abs(f.im / 1e-30 - claim);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
    largest = std::max(largest, std::abs(claim));
  };
  std::size_t at = 0;
  for_each_leaf(
      [&](auto& leaf) {
        for (std::size_t i = 0; i < leaf.size; ++i, ++at)
          if (learned[at]) compare(leaf.data[i], dtheta[at]);
      },
      run.params.tree);
  for (std::size_t i = 0; i < x.size(); ++i) compare(run.x[i], claimed.dx[i]);
  return worst / largest;
}

/// `setup` with all auxiliary losses on.
inline Setup with_losses(Setup setup = {}) {
  setup.options.balance_weight = 0.7;
  setup.options.z_weight = 0.3;
  setup.options.entropy_weight = 0.4;
  return setup;
}

}  // namespace moe::test
