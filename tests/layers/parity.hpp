#pragma once
#include <moe/backend/cpu.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace moe::test {

/// Largest difference between a backend and Reference<double> over y, dx and each leaf's gradient,
/// each relative to the largest number of its kind (or 1). Both start from numbers that the backend
/// can hold.
template <template <class> class LayerOf, class B>
double parity_error(B& backend, Setup setup) {
  using Oracle = LayerOf<Reference<double>>;
  using T = Value<B>;
  using W = Wide<B>;
  const auto rounded = [](const std::vector<double>& v) {
    return converted<double>(converted<T>(v));
  };
  auto theta = some_theta<Oracle>();
  const auto x = rounded(some_rows(setup.n, Oracle::in)),
             dy = rounded(some_rows(setup.n, Oracle::out, 3));
  for (double& e : theta) e = double(W(double(W(e)) / std::sqrt(double(Oracle::in))));
  setup.options.norm_eps = 1.0 / 1024;  // exact in float, too
  Reference<double> reference;
  backend.reserve({1, setup.length, setup.length, setup.length, 8, 8, 64});
  Run<Oracle> expected(reference, setup, theta, x);
  Run<LayerOf<B>, B> got(backend, setup, theta, x);
  double worst = largest_difference(got.forward(), expected.forward()) / largest(expected.y);
  worst = std::max(
      worst, largest_difference(got.backward(dy), expected.backward(dy)) / largest(expected.dx));
  for_each_leaf(
      [&](const auto& a, const auto& b) {
        const std::vector<double> wanted(a.data, a.data + a.size);
        const std::vector<W> leaf(b.data, b.data + b.size);
        const double size = std::max(largest(wanted), 1.0);
        worst = std::max(worst, largest_difference(leaf, wanted) / size);
      },
      expected.grad.tree, got.grad.tree);
  return worst;
}

/// Whether Cpu<double> and Cpu<float> are within their bounds.
template <template <class> class LayerOf>
bool agrees(const Setup& setup = {.n = 45, .length = 15}) {
  Cpu<double> with_double{2};
  Cpu<float> with_float{2};
  const double of_double = parity_error<LayerOf>(with_double, setup);
  const double of_float = parity_error<LayerOf>(with_float, setup);
  if (of_double < 1e-12 && of_float < 1e-5) return true;
  UNSCOPED_INFO("double: " << of_double << ", float: " << of_float);
  return false;
}

}  // namespace moe::test
