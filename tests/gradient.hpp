#pragma once
#include <algorithm>
#include <cmath>
#include <moe/backend/reference.hpp>
#include <moe/layers/layer.hpp>
#include <moe/tree/bind.hpp>
#include <moe/tree/walk.hpp>
#include <random>
#include <vector>

#include "complex_step.hpp"

namespace moe::test {

inline std::vector<double> random_numbers(std::size_t size, unsigned seed = 7) {
  std::mt19937 bits(seed);
  std::normal_distribution<double> normal;
  std::vector<double> v(size);
  for (double& e : v) e = normal(bits);
  return v;
}

/// How many numbers the leaves of a parameter tree hold.
template <class Params>
std::size_t parameter_elements() {
  Params tree{};
  std::size_t total = 0;
  for_each_leaf([&](auto& leaf) { total += leaf.size; }, tree);
  return total;
}

/// A tree with its memory.
template <class Tree, class B>
struct Owned {
  Arena<B> arena;
  Tree tree{};
  Owned(B& be, int tokens = 0) : arena(be, bytes<Tree>(tokens)) {
    bind(tree, arena.data(), tokens);
  }
};

template <class Tree, class T>
void set_leaves(Tree& tree, const std::vector<T>& values) {
  std::size_t at = 0;
  for_each_leaf(
      [&](auto& leaf) {
        std::copy_n(values.begin() + std::ptrdiff_t(at), leaf.size, leaf.data);
        at += leaf.size;
      },
      tree);
}
template <class T, class Tree>
std::vector<T> get_leaves(Tree& tree) {
  std::vector<T> values;
  for_each_leaf([&](auto& leaf) { values.insert(values.end(), leaf.data, leaf.data + leaf.size); },
                tree);
  return values;
}

/// The pass that layer tests run unless they say otherwise: sequences of three tokens, training.
struct Setup {
  int n = 6, length = 3;
  Options options{.max_tokens = 64, .balance_weight = 0, .init_std = 1, .seed = 5};
  Pass pass() const {
    return {.options = &options, .length = length, .training = true, .step = 3, .layer = 1};
  }
};

template <class T>
struct Result {
  T value;
  std::vector<T> dtheta, dx;
};

/// Computes f = <layer(x; theta), dy> and its gradients by backward. With a prefill p the gradients
/// start at p instead of 0, because backward must add.
template <class L, class T = typename L::T>
Result<T> run(const Setup& setup, std::vector<T> theta, std::vector<T> x,
              const std::vector<double>& dy, double prefill = 0) {
  static_assert(Layer<L, Reference<T>>);
  Reference<T> be;
  Owned<typename L::Params, Reference<T>> params(be), grad(be);
  Owned<typename L::Cache, Reference<T>> cache(be, setup.n);
  Owned<typename L::Scratch, Reference<T>> scratch(be, setup.n);
  set_leaves(params.tree, theta);
  set_leaves(grad.tree, std::vector<T>(theta.size(), T(prefill)));
  std::vector<T> y(dy.size()), dx(x.size(), T(prefill)), d(dy.begin(), dy.end());
  const Pass pass = setup.pass();
  L::forward(be, pass, params.tree, {x.data(), setup.n}, {y.data(), setup.n}, cache.tree,
             scratch.tree);
  L::backward(be, pass, params.tree, {x.data(), setup.n}, cache.tree, {d.data(), setup.n},
              {dx.data(), setup.n}, grad.tree, scratch.tree);
  T value{};
  for (std::size_t i = 0; i < y.size(); ++i) value = value + y[i] * d[i];
  return {value, get_leaves<T>(grad.tree), dx};
}

/// Largest |complex step - backward| over every parameter and every input, relative to the largest
/// gradient (or 1).
template <template <class> class LayerOf>
double gradient_error(const Setup& setup = {}) {
  using R = LayerOf<Reference<double>>;
  using Z = LayerOf<Reference<Complex>>;
  const auto theta = random_numbers(parameter_elements<typename R::Params>(), 1);
  const auto x = random_numbers(std::size_t(setup.n) * R::in, 2);
  const auto dy = random_numbers(std::size_t(setup.n) * R::out, 3);
  const auto claimed = run<R>(setup, theta, x, dy);
  const auto nudged = [](const std::vector<double>& v, std::size_t i) {
    std::vector<Complex> z(v.begin(), v.end());
    if (i < z.size()) z[i].im = 1e-30;
    return z;
  };
  double worst = 0, largest = 1;
  const auto compare = [&](std::size_t at_theta, std::size_t at_x, double claim) {
    const Complex f = run<Z>(setup, nudged(theta, at_theta), nudged(x, at_x), dy).value;
    worst = std::max(worst, std::abs(f.im / 1e-30 - claim));
    largest = std::max(largest, std::abs(claim));
    if (!std::isfinite(claim)) worst = INFINITY;
  };
  const std::size_t none = ~std::size_t(0);
  for (std::size_t i = 0; i < theta.size(); ++i) compare(i, none, claimed.dtheta[i]);
  for (std::size_t i = 0; i < x.size(); ++i) compare(none, i, claimed.dx[i]);
  return worst / largest;
}

/// Largest |gradient after a prefill - (prefill + gradient)|, relative as above: backward adds.
template <template <class> class LayerOf>
double adding_error(const Setup& setup = {}) {
  using R = LayerOf<Reference<double>>;
  const auto theta = random_numbers(parameter_elements<typename R::Params>(), 1);
  const auto x = random_numbers(std::size_t(setup.n) * R::in, 2);
  const auto dy = random_numbers(std::size_t(setup.n) * R::out, 3);
  const auto from_zero = run<R>(setup, theta, x, dy), from_two = run<R>(setup, theta, x, dy, 2.0);
  double worst = 0, largest = 1;
  const auto compare = [&](const std::vector<double>& zero, const std::vector<double>& two) {
    for (std::size_t i = 0; i < zero.size(); ++i) {
      worst = std::max(worst, std::abs(two[i] - zero[i] - 2));
      largest = std::max(largest, std::abs(zero[i]));
    }
  };
  compare(from_zero.dtheta, from_two.dtheta);
  compare(from_zero.dx, from_two.dx);
  return worst / largest;
}

}  // namespace moe::test
