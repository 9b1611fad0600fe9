#pragma once
#include <moe/upcycle/experts.hpp>
#include <moe/upcycle/recipe.hpp>
#include <moe_lab/names.hpp>
#include <moe_lab/precision.hpp>
#include <string>

// The structures of the compiled models, and the settings that a run starts from.

namespace growth {

using moe::ModelConfig;
using moe::Recipe;

/// LayerNorm, GELU and biases. Unlike its original it has a causal mask and positions.
constexpr ModelConfig simple(int vocab, int dim, int layers, int heads, int context) {
  return {.vocab = vocab,
          .dim = dim,
          .layers = layers,
          .heads = heads,
          .hidden = 4 * dim,
          .context = context,
          .bias = true,
          .norm = moe::Norm::layer,
          .position = moe::Position::rope_half,
          .activation = moe::Activation::gelu};
}
/// RMSNorm, SwiGLU, no biases, as Llama and SmolLM.
constexpr ModelConfig smollm(int vocab, int dim, int layers, int heads, int context) {
  return {.vocab = vocab,
          .dim = dim,
          .layers = layers,
          .heads = heads,
          .hidden = 4 * dim,
          .context = context,
          .norm = moe::Norm::rms,
          .position = moe::Position::rope_half,
          .activation = moe::Activation::swiglu};
}

/// So small for its text that more parameters help. docs/transfer.md has results of wider ones.
inline constexpr ModelConfig tiny_simple = simple(2048, 32, 4, 2, 128);
inline constexpr ModelConfig tiny_smollm = smollm(2048, 32, 4, 2, 128);
inline constexpr ModelConfig small_simple = simple(50257, 256, 4, 4, 256);
inline constexpr ModelConfig small_smollm = smollm(50257, 256, 4, 4, 256);
inline constexpr ModelConfig paper_simple = simple(50257, 832, 7, 8, 256);
inline constexpr ModelConfig paper_smollm = smollm(50257, 832, 7, 8, 256);

/// The mixture that grows out of a dense model. All three shapes need the same work per token.
constexpr ModelConfig mixture(ModelConfig dense, Recipe recipe) {
  if (recipe == Recipe::virtual_groups)
    return moe::with_experts(
        dense, {.experts = 16, .top_k = 4, .hidden = dense.hidden / 2, .router_bias = true});
  if (recipe == Recipe::shared)
    return moe::with_experts(dense,
                             {.experts = 8, .top_k = 1, .shared_experts = 1, .router_bias = true});
  return moe::with_experts(dense, {.experts = 8, .top_k = 2, .router_bias = true});
}

/// The settings that options change. Steps are updates of the optimizer, AdamW.
struct Settings {
  std::string preset = {}, architecture = "simple", precision = "float";
  std::string recipe = "copy", router = "normal", optimizer_state = "fresh";
  int phase1_steps = 0, phase2_steps = 0, batch = 0;  // sequences of the model's context
  double phase1_lr = 0, phase2_lr = 0;                // peaks; phase 2 warms up to its own
  int warmup = 0;                                     // updates, of every phase
  double final_rate = 0.1;                            // share of the peak at the last update
  double weight_decay = 0.1, clip = 1, dropout = 0;
  double balance_weight = 0.01, router_std = 0.02, noise = 0.1, drop = 0.5;
  int eval_every = 0;
  std::uint64_t seed = 1;

  /// The list of options that change a field: see lab::Knobs.
  template <class F>
  static void for_each_knob(F&& f) {
    constexpr int many = 1 << 28;  // controls may take several times as many updates
    f("--precision", &Settings::precision, lab::precisions, lab::precision_help);
    f("--recipe", &Settings::recipe, lab::names_of<moe::Recipe>(),
      "copy (default), noise, permute, drop, virtual_groups, shared");
    f("--router", &Settings::router, lab::names_of<moe::RouterStart>(),
      "How the router starts: normal (default), zero, orthogonal");
    f("--router-std", &Settings::router_std, 0, 1e3, "Standard deviation of its weights");
    f("--noise", &Settings::noise, 0, 1e3,
      "Recipe noise: deviation in root mean squares of a matrix");
    f("--drop", &Settings::drop, 0, 1, "Recipe drop: share of the hidden units");
    f("--optimizer-state", &Settings::optimizer_state, lab::Names{"fresh", "copied"},
      "Of the mixture: fresh (default) or copied");
    f("--steps1", &Settings::phase1_steps, 1, many, "Updates of the dense model");
    f("--steps2", &Settings::phase2_steps, 1, many, "Updates of the mixture");
    f("--batch", &Settings::batch, 1, 1 << 16, "Sequences of one update");
    f("--lr1", &Settings::phase1_lr, 0, 1e3, "Peak learning rate of phase 1");
    f("--lr2", &Settings::phase2_lr, 0, 1e3, "Peak learning rate of phase 2");
    f("--warmup", &Settings::warmup, 0, 1 << 30, "Updates of warm-up, in every phase");
    f("--final-rate", &Settings::final_rate, 0, 1, "Share of the peak at the end");
    f("--weight-decay", &Settings::weight_decay, 0, 1e3, "Of AdamW, on matrices");
    f("--dropout", &Settings::dropout, 0, 0.99, "On attention and inside experts");
    f("--balance", &Settings::balance_weight, 0, 1e3, "Weight of the balance loss");
    f("--eval-every", &Settings::eval_every, 1, many, "Updates between evaluations");
    f("--seed", &Settings::seed, "First seed");
  }
};

inline const Settings tiny_settings{.preset = "tiny",
                                    .phase1_steps = 3000,
                                    .phase2_steps = 1000,
                                    .batch = 8,
                                    .phase1_lr = 6e-3,
                                    .phase2_lr = 6e-3,
                                    .warmup = 20,
                                    .balance_weight = 0.05,
                                    .eval_every = 500};
inline const Settings small_settings{.preset = "small",
                                     .phase1_steps = 1000,
                                     .phase2_steps = 1000,
                                     .batch = 8,
                                     .phase1_lr = 1e-3,
                                     .phase2_lr = 5e-4,
                                     .warmup = 50,
                                     .eval_every = 250};
inline const Settings paper_settings{.preset = "paper",
                                     .phase1_steps = 1000,
                                     .phase2_steps = 1000,
                                     .batch = 8,
                                     .phase1_lr = 3e-4,
                                     .phase2_lr = 1e-4,
                                     .warmup = 50,
                                     .eval_every = 250};

}  // namespace growth
