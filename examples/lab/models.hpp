#pragma once
#include <moe/config.hpp>
#include <moe/parameters.hpp>

#include "run.hpp"

// The models of the laboratory, fixed when it is compiled: each in a file of its own in models/.

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
/// Experts half as wide: two of them are what one dense feed-forward is.
constexpr ModelConfig iso_active(ModelConfig c) {
  c.moe.hidden = c.expert_hidden() / 2;
  return c;
}

inline constexpr ModelConfig tiny = simple(257, 64, 2, 4, 256, 4);
inline constexpr ModelConfig small = simple(257, 128, 4, 4, 1024, 8);
inline constexpr ModelConfig paper = simple(49152, 384, 6, 8, 512, 8);

/// A compiled model: what is known of it, and its training loop.
struct Model {
  const char* name;
  ModelConfig config;
  moe::ParameterCount parameters;
  Outcome (*run)(const Job&, const char* name);
  std::string (*plan)(const Settings&, int threads);

  Outcome train(const Job& job) const { return run(job, name); }
  double flops(int length) const { return moe::token_flops(config, length).training(); }
};

Model tiny_moe(), tiny_dense(), tiny_iso_active();
Model small_moe(), small_dense(), small_iso_active();
Model small_alternate(), small_alternate_iso_active();
Model paper_moe(), paper_dense(), paper_alternate(), paper_alternate_iso_active();

/// Of the header that MOE_LAB_MODEL names.
Model custom_moe();
Settings custom_settings();

}  // namespace lab
