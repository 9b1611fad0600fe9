#include <moe/model/config_text.hpp>

#include "catch.hpp"

using namespace moe;

TEST_CASE("to_cpp: what differs from the default, in the order of declaration", "[config]") {
  CHECK(to_cpp({}) == "{}");
  CHECK(to_cpp({.vocab = 65, .dim = 384}) == "{.vocab = 65, .dim = 384}");
  const ModelConfig config{.vocab = 96,
                           .heads = 4,
                           .tied = false,
                           .bias = true,
                           .norm = Norm::layer,
                           .position = Position::rope_half,
                           .activation = Activation::gelu_tanh,
                           .moe = {.experts = 8, .top_k = 2, .last_half = true}};
  CHECK(to_cpp(config) ==
        "{.vocab = 96, .heads = 4, .tied = false, .bias = true, .norm = moe::Norm::layer, "
        ".activation = moe::Activation::gelu_tanh, .moe = {.experts = 8, .last_half = true}}");
  CHECK(to_cpp({.vocab = 2, .moe = {.top_k = 1, .scoring = Scoring::sigmoid}}, "\n  ") ==
        "{\n  .vocab = 2,\n  .moe = {.top_k = 1, .scoring = moe::Scoring::sigmoid}}");
}
