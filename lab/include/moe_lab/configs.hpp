#pragma once
#include <map>
#include <moe/core/config.hpp>
#include <string>

// The structures of the laboratory's models.

namespace lab {

using moe::ModelConfig;

/// The mixture of blueberry-llm's exp5: rotary interleaved, RMSNorm, SiLU experts that are not
/// gated, no biases, tied embedding times sqrt(dim).
constexpr ModelConfig simple(int vocab, int dim, int layers, int heads, int context, int experts) {
  return {.vocab = vocab,
          .dim = dim,
          .layers = layers,
          .heads = heads,
          .hidden = 4 * dim,
          .context = context,
          .scale_embedding = true,
          .norm = moe::Norm::rms,
          .position = moe::Position::rope_interleaved,
          .activation = moe::Activation::silu,
          .moe = {.experts = experts, .top_k = 2}};
}
constexpr ModelConfig dense(ModelConfig c) {
  c.moe = {};
  return c;
}
/// Experts in layers 1, 3, 5 ..., as llm-moe has them.
constexpr ModelConfig alternate(ModelConfig c) {
  c.moe.every = 2, c.moe.offset = 1;
  return c;
}
/// Experts in the second half of the layers, as llm-moe's last_half.
constexpr ModelConfig last_half(ModelConfig c) {
  c.moe.last_half = true;
  return c;
}
/// The spellings of --moe-layers; llm-moe writes last_half.
inline const std::map<std::string, std::string> moe_layers_names = {{"all", "all"},
                                                                    {"alternate", "alternate"},
                                                                    {"last-half", "last-half"},
                                                                    {"last_half", "last-half"}};
inline ModelConfig with_moe_layers(ModelConfig c, const std::string& layers) {
  c.moe.every = 1, c.moe.offset = 0, c.moe.last_half = false;
  return layers == "alternate" ? alternate(c) : layers == "last-half" ? last_half(c) : c;
}
/// Halves the width of the experts: the two of a token then have as many parameters as one dense
/// feed-forward.
constexpr ModelConfig iso_active(ModelConfig c) {
  c.moe.hidden = c.expert_hidden() / 2;
  return c;
}

inline constexpr ModelConfig tiny = simple(257, 64, 2, 4, 256, 4);
inline constexpr ModelConfig small = simple(257, 128, 4, 4, 1024, 8);
inline constexpr ModelConfig paper = simple(49152, 384, 6, 8, 512, 8);

}  // namespace lab
