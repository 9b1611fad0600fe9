#pragma once
#include <moe/tree/leaves.hpp>

namespace moe {

/// Learned numbers of a model. `active` is what one token passes through: everything but the
/// experts that it is not sent to (and but a separate token embedding, which is only looked up).
struct ParameterCount {
  std::size_t total = 0, active = 0, embedding = 0;
};

/// Counts without allocating:  parameter_count<Model>().total.   Test: tests/model/parameters.cpp.
template <class Model>
ParameterCount parameter_count() {
  ParameterCount count;
  for (const LeafInfo& leaf : leaves<typename Model::Params>()) {
    if (leaf.role == Role::expert_bias || leaf.size == 0) continue;
    count.total += leaf.size;
    if (leaf.role == Role::embedding) {
      count.embedding += leaf.size;
      if (!Model::config.tied) continue;
    }
    const std::size_t matrices = std::size_t(leaf.count);
    const std::size_t used = matrices > 1 ? std::size_t(Model::config.moe.top_k) : matrices;
    count.active += leaf.size / matrices * used;
  }
  return count;
}

}  // namespace moe
