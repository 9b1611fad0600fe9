#include <array>
#include <map>
#include <moe/backend/reference.hpp>
#include <moe/model/block.hpp>
#include <moe/tree/bind.hpp>
#include <moe/upcycle/pairs.hpp>
#include <string>
#include <vector>

#include "../catch.hpp"

namespace {

using namespace moe;
using B = Reference<float>;
using Pair = detail::UpcyclePair<float>;

constexpr ModelConfig dense{.vocab = 8,
                            .dim = 4,
                            .layers = 4,
                            .heads = 1,
                            .hidden = 8,
                            .context = 2,
                            .bias = true,
                            .activation = Activation::swiglu};
constexpr ModelConfig mixture = [] {
  ModelConfig c = dense;
  c.moe = {.experts = 2, .top_k = 1, .every = 2, .offset = 1, .shared_experts = 1};
  return c;
}();

/// A user's block with the library's block inside.
template <ModelConfig C, bool Mixture>
struct OwnBlock {
  struct Deeper {
    typename Block<C, Mixture, B>::Params block;
  };
  struct Params {
    Param<float, Role::gain, 1, C.dim> scale;
    std::array<Deeper, 1> inside;
  };
};
template <ModelConfig C>
struct Params {
  Param<float, Role::embedding, C.vocab, C.dim> embedding;
  PerLayer<C, typename OwnBlock<C, false>::Params, typename OwnBlock<C, true>::Params> blocks;
  Param<float, Role::gain, 1, C.dim> last;
};

/// The names of the leaves, by the address of their memory.
template <class Tree>
std::map<const float*, std::string> names(Tree& tree, std::vector<std::byte>& memory) {
  memory.resize(bytes<Tree>());
  bind(tree, memory.data());
  std::map<const float*, std::string> all;
  for (std::size_t i = 0; const LeafInfo& info : leaves<Tree>()) {
    if (info.size > 0) all[view<float>(tree, info).data] = leaf_names<Tree>()[i];
    ++i;
  }
  return all;
}

}  // namespace

TEST_CASE("upcycle: every leaf of the mixture has its origin, found by types alone", "[pairs]") {
  Params<dense> from{};
  Params<mixture> to{};
  std::vector<std::byte> from_memory, to_memory;
  const auto from_names = names(from, from_memory), to_names = names(to, to_memory);
  std::map<std::string, const Pair*> found;
  const detail::UpcyclePairs<float> pairs(from, to);
  for (const Pair& pair : pairs) CHECK(found.emplace(to_names.at(pair.to.data), &pair).second);
  CHECK(found.size() == to_names.size());

  const auto check = [&](const std::string& name, Pair::Part part, int layer,
                         const std::string& origin) {
    INFO(name);
    REQUIRE(found.contains(name));
    const Pair& pair = *found.at(name);
    CHECK(pair.part == part);
    CHECK(pair.layer == layer);
    CHECK((pair.from.data ? from_names.at(pair.from.data) : "") == origin);
  };
  check("embedding", Pair::common, 0, "embedding");
  check("last", Pair::common, 0, "last");
  for (const int layer : {0, 1, 2, 3}) {
    const std::string block = "blocks." + std::to_string(layer) + ".";
    const std::string inside = block + "inside.0.block.";
    check(block + "scale", Pair::common, layer, block + "scale");
    check(inside + "attn.q.weight", Pair::common, layer, inside + "attn.q.weight");
    check(inside + "ffn_norm.weight", Pair::common, layer, inside + "ffn_norm.weight");
    const std::string ffn = inside + "ffn.";
    for (const std::string leaf : {"weight", "bias"}) {
      if (layer % 2 == 0) {
        check(ffn + "up_proj." + leaf, Pair::common, layer, ffn + "up_proj." + leaf);
        continue;
      }
      check(ffn + "router." + leaf, Pair::router, layer, "");
      check(ffn + "shared.down_proj." + leaf, Pair::shared, layer, ffn + "down_proj." + leaf);
      check(ffn + "experts.gate_proj." + leaf, Pair::expert_gate, layer, ffn + "gate_proj." + leaf);
      check(ffn + "experts.up_proj." + leaf, Pair::expert_up, layer, ffn + "up_proj." + leaf);
      check(ffn + "experts.down_proj." + leaf, Pair::expert_down, layer, ffn + "down_proj." + leaf);
    }
  }
}
