#pragma once
#include <moe/core/batch.hpp>
#include <moe/core/config.hpp>
#include <moe/core/random.hpp>

namespace moe::inline MOE_ISA {

/// How the experts are made from a dense feed-forward. docs/transfer.md says which recipes preserve
/// what the model computes, and why.
enum class Recipe {
  copy,     // every expert is a copy of the feed-forward
  noise,    // copies, with normal noise on the matrices
  permute,  // copies, with the hidden units in another order for each expert
  drop,     // copies, with a share of the hidden units drawn anew (the same units in all matrices)
  virtual_groups,  // every expert is one of G slices of the hidden units (fine-grained)
  shared,          // the shared expert is the feed-forward; routed experts start by adding nothing
};

/// The initial router. `zero` is the symmetric start: every token goes to the first top_k experts,
/// which get equal gradients.
enum class RouterStart { normal, zero, orthogonal };

struct UpcycleOptions {
  RouterStart router = RouterStart::normal;
  double router_std = 0.02;  // of normal; orthogonal rows have this length, too: std * sqrt(dim)
  double noise = 0.1;  // Recipe::noise: standard deviation, relative to a matrix's root mean square
  double drop = 0.5;   // Recipe::drop: share of the hidden units
  bool compensate = true;  // scale the down-projections if the gates' total weight is not 1
  std::uint64_t seed = 0;
  Batch probe = {};  // tokens on which both models are compared; none: random tokens
};

/// Adds experts to the configuration of a dense model:
///     constexpr auto moe_config = with_experts(dense_config, {.experts = 8, .top_k = 2});
constexpr ModelConfig with_experts(ModelConfig dense, MoeConfig moe) {
  dense.moe = moe;
  return dense;
}

/// The number of slices into which Recipe::virtual_groups divides a dense feed-forward.
constexpr int virtual_groups(ModelConfig dense, ModelConfig moe) {
  return dense.dense_hidden() / moe.expert_hidden();
}

/// The factors of the down-projection's weights and biases with which the mixture gives what the
/// feed-forward gave. Gates that sum to 1 need no factor. Other gates are known only while the
/// router is zero: 1/experts, or 1/2 for sigmoid. Slices share the weight of their group.
/// Source: He et al. 2024, arXiv:2410.07524, section 3.2, with the whole factor on the
/// down-projection, where it is exact for every activation.
struct Compensation {
  double weight = 1, bias = 1;
};
constexpr Compensation compensation(ModelConfig moe, int groups) {
  const double gate = moe.moe.scoring == Scoring::softmax ? 1.0 / moe.moe.experts : 0.5;
  const double sum = moe.moe.renormalize ? 1 : gate * moe.moe.top_k;
  return {groups / sum, 1 / sum};
}

/// Rejects, at compile time, two configurations that the recipe cannot connect, with a message that
/// names the field.
/// Test: tests/compile_fail, tests/upcycle/upcycle.cpp.
template <ModelConfig Dense, ModelConfig Moe, Recipe R>
consteval bool check_upcycle() {
  static_assert(Dense.moe.experts == 0, "moe: upcycle starts from a dense model (experts = 0)");
  static_assert(Moe.moe.experts > 0, "moe: upcycle gives a mixture (experts > 0)");
  static_assert(Dense.vocab == Moe.vocab, "moe: upcycle needs equal ModelConfig.vocab");
  static_assert(Dense.dim == Moe.dim, "moe: upcycle needs equal ModelConfig.dim");
  static_assert(Dense.layers == Moe.layers, "moe: upcycle needs equal ModelConfig.layers");
  static_assert(
      Dense.heads == Moe.heads && Dense.kv_heads_or_default() == Moe.kv_heads_or_default(),
      "moe: upcycle needs equal ModelConfig.heads and kv_heads");
  static_assert(Dense.context == Moe.context, "moe: upcycle needs equal ModelConfig.context");
  static_assert(Dense.tied == Moe.tied, "moe: upcycle needs equal ModelConfig.tied");
  static_assert(Dense.bias == Moe.bias, "moe: upcycle needs equal ModelConfig.bias");
  static_assert(Dense.scale_embedding == Moe.scale_embedding,
                "moe: upcycle needs equal ModelConfig.scale_embedding");
  static_assert(Dense.norm == Moe.norm, "moe: upcycle needs equal ModelConfig.norm");
  static_assert(Dense.position == Moe.position, "moe: upcycle needs equal ModelConfig.position");
  static_assert(Dense.activation == Moe.activation,
                "moe: upcycle needs equal ModelConfig.activation");
  static_assert(Dense.qk_norm == Moe.qk_norm, "moe: upcycle needs equal ModelConfig.qk_norm");
  static_assert(Moe.moe_layers() == Moe.layers || Dense.dense_hidden() == Moe.dense_hidden(),
                "moe: upcycle needs equal ModelConfig.hidden in the layers that stay dense");
  constexpr int hidden = Dense.dense_hidden(), of_expert = Moe.expert_hidden();
  if constexpr (R == Recipe::shared) {
    static_assert(Moe.moe.shared_experts * of_expert == hidden,
                  "moe: Recipe::shared needs shared_experts * MoeConfig.hidden equal to the hidden "
                  "width of the dense model");
  } else {
    static_assert(
        Moe.moe.shared_experts == 0,
        "moe: only Recipe::shared fills shared experts; set MoeConfig.shared_experts = 0");
  }
  if constexpr (R == Recipe::virtual_groups) {
    static_assert(hidden % of_expert == 0,
                  "moe: Recipe::virtual_groups needs a hidden width of the dense model that is a "
                  "multiple of MoeConfig.hidden");
    static_assert(
        Moe.moe.experts % virtual_groups(Dense, Moe) == 0 &&
            Moe.moe.top_k % virtual_groups(Dense, Moe) == 0,
        "moe: Recipe::virtual_groups needs MoeConfig.experts and top_k that are multiples "
        "of the number of slices, the dense hidden width / MoeConfig.hidden");
  } else if constexpr (R != Recipe::shared) {
    static_assert(of_expert == hidden,
                  "moe: this recipe needs MoeConfig.hidden equal to the hidden width of the dense "
                  "model; Recipe::virtual_groups cuts it, Recipe::shared leaves it free");
  }
  return true;
}

}  // namespace moe
