#pragma once
#include <cmath>
#include <moe/layer.hpp>
#include <moe/reflect.hpp>
#include <vector>

namespace moe {

/// Standard deviation of a leaf's initial values: init_std for matrices, divided by sqrt(2 layers)
/// where they write into the residual stream; 0 for biases; gains are 1.
/// Source: Radford et al. 2019 (GPT-2), section 2.3.  Test: tests/initial_values.cpp.
constexpr double initial_deviation(Role role, double init_std, double layers) {
  switch (role) {
    case Role::gain:
    case Role::bias:
    case Role::selection_bias:
      return 0;
    case Role::residual:
      return init_std / std::sqrt(2 * layers);
    default:
      return init_std;
  }
}

/// Fills every leaf: normal numbers from (options.seed, number of the leaf, element).
template <Backend B, class Params>
void set_initial_values(B& be, Params& params, const Options& options, int layers) {
  std::uint32_t number = 0;
  std::vector<Scalar<B>> host;
  for_each_leaf(
      [&](auto& leaf) {
        using Leaf = std::remove_reference_t<decltype(leaf)>;
        const double deviation = initial_deviation(Leaf::role, options.init_std, layers);
        const std::uint64_t from = stream(0, number++, Site::initial_value);
        host.assign(Leaf::size, Scalar<B>(Leaf::role == Role::gain ? 1.0 : 0.0));
        if (deviation > 0)
          for (std::size_t i = 0; i < Leaf::size; ++i)
            host[i] = Scalar<B>(deviation * normal(options.seed, from, i));
        be.upload(leaf.data, host.data(), Leaf::size * sizeof(Scalar<B>));
      },
      params);
}

}  // namespace moe
