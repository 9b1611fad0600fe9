#pragma once
#include <cstring>

#include "../gradient.hpp"

namespace moe::test {

template <class To, class From>
std::vector<To> converted(const std::vector<From>& v) {
  std::vector<To> result(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) result[i] = To(v[i]);
  return result;
}

/// A layer with its memory on a backend. The memory is filled with NaN, so that a read of what
/// forward or backward has not written shows.
template <class L, class B = Reference<double>>
struct Run {
  using T = Value<B>;
  using W = Wide<B>;
  B& be;
  Setup setup;
  Owned<typename L::Params, B> params, grad;
  Owned<typename L::Cache, B> cache;
  Owned<typename L::Scratch, B> scratch;
  std::vector<T> x, y, dx;

  Run(B& backend, const Setup& s, const std::vector<double>& theta,
      const std::vector<double>& input)
      : be(backend),
        setup(s),
        params(be),
        grad(be),
        cache(be, s.n),
        scratch(be, s.n),
        x(converted<T>(input)),
        y(std::size_t(s.n) * L::out),
        dx(std::size_t(s.n) * L::in) {
    set_leaves(params.tree, converted<W>(theta));
    poison(cache);
  }

  /// Returns y.
  std::vector<T> forward() { return forward(setup.pass()); }
  std::vector<T> forward(const Pass& pass) {
    poison(scratch);
    std::fill(y.begin(), y.end(), T(NAN));
    L::forward(be, pass, params.tree, {x.data(), setup.n}, {y.data(), setup.n}, cache.tree,
               scratch.tree);
    return y;
  }
  /// Returns dx after adding to it; adds the parameters' gradients to grad.
  std::vector<T> backward(const std::vector<double>& dy) { return backward(setup.pass(), dy); }
  std::vector<T> backward(const Pass& pass, const std::vector<double>& upstream) {
    const std::vector<T> dy = converted<T>(upstream);
    poison(scratch);
    L::backward(be, pass, params.tree, {x.data(), setup.n}, cache.tree, {dy.data(), setup.n},
                {dx.data(), setup.n}, grad.tree, scratch.tree);
    return dx;
  }
  std::vector<W> gradients() { return get_leaves<W>(grad.tree); }

 private:
  static void poison(auto& owned) {
    if (owned.arena.bytes() > 0) std::memset(owned.arena.data(), 0xFF, owned.arena.bytes());
  }
};

/// Random numbers for the parameters and for the inputs of a layer.
template <class L>
std::vector<double> some_theta(unsigned seed = 1) {
  return random_numbers(parameter_elements<typename L::Params>(), seed);
}
inline std::vector<double> some_rows(int n, int cols, unsigned seed = 2) {
  return random_numbers(std::size_t(n) * std::size_t(cols), seed);
}

template <class A, class C>
double largest_difference(const std::vector<A>& a, const std::vector<C>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double(a[i]) - double(b[i]));
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  return worst;
}
template <class A>
double largest(const std::vector<A>& a) {
  return largest_difference(a, std::vector<double>(a.size()));
}

/// Row r of a table with `cols` columns.
template <class T>
std::vector<T> row(const std::vector<T>& v, int r, int cols) {
  const auto first = v.begin() + std::ptrdiff_t(r) * cols;
  return {first, first + cols};
}

}  // namespace moe::test
