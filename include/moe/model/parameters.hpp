#pragma once
#include <cstddef>
#include <moe/backend/backend.hpp>
#include <moe/core/error.hpp>
#include <moe/tree/leaves.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe::inline MOE_ISA {

/// Parameter counts. `active` excludes the experts that a token is not routed to, and an untied
/// token embedding (a lookup).
struct ParameterCount {
  std::size_t total = 0, active = 0, embedding = 0;
};

/// Counts the parameters of a model type, without allocating:  parameter_count<Model>().total.
/// Test: tests/model/parameters.cpp.
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

/// The parameter with this name, as its place in the backend's memory and its shape; `tree` is
/// model.params() or model.grads(). The names are those of leaf_names<Params>() and of checkpoints.
/// Errors: moe::Error when there is none of this name, as the head's weight where that is the token
/// embedding.  Test: tests/model/parameters.cpp.
///
///     const auto q = moe::parameter<float>(model.params(), "blocks.0.attn.q.weight");
template <class T, class Params>
LeafView<T> parameter(Params& tree, std::string_view name) {
  const std::vector<std::string>& names = leaf_names<std::remove_const_t<Params>>();
  const auto& all = leaves<std::remove_const_t<Params>>();
  std::size_t count = 0, last = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (all[i].size == 0) continue;  // what this configuration does not have
    if (names[i] == name) return view<T>(tree, all[i]);
    ++count, last = i;
  }
  throw Error("cannot find the parameter '", name, "' among the ", count, " of the model, '",
              names.front(), "' to '", names[last], "'; leaf_names<Model::Params>() lists them");
}

/// Copies numbers of the host into a leaf of parameters, from its element `first` on. They are
/// rounded to the type in which the leaf is stored: Wide, or Weight.
template <Backend B, class Params>
void upload_numbers(B& be, Params& tree, const LeafInfo& leaf, std::size_t first,
                    std::span<const Wide<B>> numbers) {
  if (leaf.value_bytes == sizeof(Wide<B>)) {
    be.upload(view<Wide<B>>(tree, leaf).data + first, numbers.data(), numbers.size_bytes());
  } else {
    const std::vector<Weight<B>> stored(numbers.begin(), numbers.end());
    be.upload(view<Weight<B>>(tree, leaf).data + first, stored.data(),
              stored.size() * sizeof(Weight<B>));
  }
}
/// The other way: the numbers of a leaf, from its element `first` on, on the host.
template <Backend B, class Params>
void download_numbers(B& be, Params& tree, const LeafInfo& leaf, std::size_t first,
                      std::span<Wide<B>> numbers) {
  if (leaf.value_bytes == sizeof(Wide<B>)) {
    be.download(numbers.data(), view<Wide<B>>(tree, leaf).data + first, numbers.size_bytes());
  } else {
    std::vector<Weight<B>> stored(numbers.size());
    be.download(stored.data(), view<Weight<B>>(tree, leaf).data + first,
                stored.size() * sizeof(Weight<B>));
    for (std::size_t i = 0; i < stored.size(); ++i) numbers[i] = Wide<B>(stored[i]);
  }
}

}  // namespace moe
