#include <algorithm>
#include <moe/model/initial_values.hpp>

#include "catch.hpp"
#include "gradient.hpp"

namespace {

using namespace moe;

struct Tree {
  Param<double, Role::embedding, 60, 50> embedding;
  Param<double, Role::hidden, 30, 20, 5> experts;
  Param<double, Role::residual, 60, 50> down;
  Param<double, Role::router, 60, 50> router;
  Param<double, Role::head, 60, 50> head;
  Param<double, Role::position, 60, 50> position;
  Param<double, Role::gain, 1, 50> gain;
  Param<double, Role::bias, 1, 50> bias;
  Param<double, Role::expert_bias, 1, 8> selection;
};

struct Initial {
  Reference<double> be;
  test::Owned<Tree, Reference<double>> params;
  explicit Initial(const Options& options, int layers = 8) : params(be) {
    // The memory does not begin as zeros, so that an element that is not written shows.
    test::set_leaves(params.tree, std::vector<double>(test::parameter_elements<Tree>(), 77.0));
    set_initial_values(be, params.tree, options, layers);
  }
  Tree* operator->() { return &params.tree; }
};

template <class Leaf>
double mean(const Leaf& leaf, double power) {
  double sum = 0;
  for (std::size_t i = 0; i < leaf.size; ++i) sum += std::pow(leaf.data[i], power);
  return sum / double(leaf.size);
}
template <class Leaf>
bool all(const Leaf& leaf, double value) {
  return std::count(leaf.data, leaf.data + leaf.size, value) == std::ptrdiff_t(leaf.size);
}

TEST_CASE("Initial values: the deviation follows the role", "[statistics]") {
  Initial params({.init_std = 0.02, .seed = 3});
  const auto has_deviation = [](const auto& leaf, double deviation) {
    const double n = double(leaf.size);
    return std::abs(mean(leaf, 1)) < 4 * deviation / std::sqrt(n) &&
           std::abs(mean(leaf, 2) / (deviation * deviation) - 1) < 4 * std::sqrt(2 / n);
  };
  CHECK(has_deviation(params->embedding, 0.02));
  CHECK(has_deviation(params->experts, 0.02));
  CHECK(has_deviation(params->router, 0.02));
  CHECK(has_deviation(params->head, 0.02));
  CHECK(has_deviation(params->position, 0.02));
  CHECK(has_deviation(params->down, 0.02 / 4));  // sqrt(2 * 8 layers)
}

TEST_CASE("Initial values: gains are 1, biases 0", "[edge]") {
  Initial params({.init_std = 0.02, .seed = 3});
  CHECK(all(params->gain, 1));
  CHECK(all(params->bias, 0));
  CHECK(all(params->selection, 0));
}

TEST_CASE("Initial values: no two leaves and no two experts start alike", "[edge]") {
  Initial params({.seed = 3});
  CHECK(!std::equal(params->router.data, params->router.data + 3000, params->head.data));
  CHECK(!std::equal(params->router.data, params->router.data + 3000, params->position.data));
  const auto& experts = params->experts;
  CHECK(!std::equal(experts.matrix(0), experts.matrix(0) + 600, experts.matrix(1)));
}

TEST_CASE("Initial values: the seed decides, and decides everything", "[determinism]") {
  Initial a({.seed = 3}), b({.seed = 3}), c({.seed = 4});
  CHECK(test::get_leaves<double>(a.params.tree) == test::get_leaves<double>(b.params.tree));
  CHECK(!std::equal(a->head.data, a->head.data + 3000, c->head.data));
}

}  // namespace
