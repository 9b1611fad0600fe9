#pragma once
#include <cmath>
#include <moe/layers/layer.hpp>
#include <moe/model/parameters.hpp>
#include <vector>

namespace moe::inline MOE_ISA {

/// The standard deviation of a leaf's initial values: init_std for matrices, divided by sqrt(2
/// layers) for those that write into the residual stream; 0 for biases. Gains start at 1.
/// Source: Radford et al. 2019 (GPT-2), section 2.3.  Test: tests/model/initial_values.cpp.
constexpr double initial_deviation(Role role, double init_std, double layers) {
  switch (role) {
    case Role::gain:
    case Role::bias:
    case Role::expert_bias:
      return 0;
    case Role::residual:
      return init_std / std::sqrt(2 * layers);
    default:
      return init_std;
  }
}

/// Fills every leaf with normal numbers, which depend on (options.seed, number of the leaf,
/// element).
template <Backend B, class Params>
void set_initial_values(B& be, Params& params, const Options& options, int layers) {
  using T = Wide<B>;
  std::uint32_t number = 0;
  std::vector<T> host;
  for (const LeafInfo& info : leaves<Params>()) {
    const double deviation = initial_deviation(info.role, options.init_std, layers);
    const std::uint64_t from = stream(0, number++, RandomStream::initial_value);
    host.assign(info.size, T(info.role == Role::gain ? 1.0 : 0.0));
    if (deviation > 0)
      for (std::size_t i = 0; i < info.size; ++i)
        host[i] = T(deviation * normal(options.seed, from, i));
    upload_numbers(be, params, info, 0, host);
  }
}

}  // namespace moe
