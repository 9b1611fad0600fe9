#include <moe/core/config.hpp>
#include <string>

#include "catch.hpp"

namespace {

using namespace moe;

/// 'm' for each layer with experts, 'd' for each dense one.
std::string kinds(int layers, const MoeConfig& moe) {
  const ModelConfig config{.layers = layers, .moe = moe};
  std::string text;
  for (int i = 0; i < layers; ++i) text += config.is_moe(i) ? 'm' : 'd';
  return text;
}

TEST_CASE("ModelConfig: which layers have experts", "[config]") {
  CHECK(kinds(4, {}) == "dddd");
  CHECK(kinds(4, {.experts = 2}) == "mmmm");
  CHECK(kinds(6, {.experts = 2, .every = 2}) == "mdmdmd");
  CHECK(kinds(6, {.experts = 2, .every = 2, .offset = 1}) == "dmdmdm");
  CHECK(kinds(7, {.experts = 2, .every = 3, .offset = 2}) == "ddmddmd");
  CHECK(kinds(8, {.experts = 2, .every = 2, .offset = 3}) == "dddmdmdm");
  CHECK(kinds(6, {.experts = 2, .last_half = true}) == "dddmmm");
  CHECK(kinds(5, {.experts = 2, .last_half = true}) == "ddmmm");
  CHECK(kinds(1, {.experts = 2, .last_half = true}) == "m");
}

TEST_CASE("ModelConfig: counts layers with experts, numbers the layers of a kind", "[config]") {
  constexpr ModelConfig config{.layers = 6, .moe = {.experts = 2, .every = 2, .offset = 1}};
  CHECK(config.moe_layers() == 3);
  const int expected[] = {0, 0, 1, 1, 2, 2};
  for (int i = 0; i < 6; ++i) CHECK(config.index_in_kind(i) == expected[i]);
  constexpr ModelConfig dense{.layers = 6};
  CHECK(dense.moe_layers() == 0);
  CHECK(dense.index_in_kind(5) == 5);
}

TEST_CASE("ModelConfig: the values that a zero stands for", "[config]") {
  constexpr ModelConfig plain{.dim = 24, .heads = 6};
  CHECK(plain.kv_heads_or_default() == 6);
  CHECK(plain.head_dim() == 4);
  CHECK(plain.dense_hidden() == 96);
  CHECK(plain.expert_hidden() == 96);
  constexpr ModelConfig grouped{.dim = 24, .heads = 6, .kv_heads = 2, .hidden = 50};
  CHECK(grouped.kv_heads_or_default() == 2);
  CHECK(grouped.dense_hidden() == 50);
  CHECK(grouped.expert_hidden() == 50);
  constexpr ModelConfig narrow{.dim = 24, .heads = 6, .hidden = 50, .moe = {.hidden = 7}};
  CHECK(narrow.dense_hidden() == 50);
  CHECK(narrow.expert_hidden() == 7);
}

TEST_CASE("ModelConfig: only swiglu and geglu are gated", "[config]") {
  CHECK(is_gated(Activation::swiglu));
  CHECK(is_gated(Activation::geglu));
  for (const Activation a :
       {Activation::gelu, Activation::gelu_tanh, Activation::silu, Activation::relu_squared})
    CHECK(!is_gated(a));
}

TEST_CASE("check: accepts what makes sense", "[config]") {
  CHECK(check<ModelConfig{.vocab = 1, .dim = 2, .layers = 1, .heads = 1, .context = 1}>());
  CHECK(check<ModelConfig{.vocab = 9,
                          .dim = 12,
                          .layers = 2,
                          .heads = 4,
                          .kv_heads = 2,
                          .context = 5,
                          .position = Position::learned,  // an odd head_dim is fine here
                          .moe = {.experts = 3, .top_k = 3, .last_half = true}}>());
}

}  // namespace
