#pragma once
#include <cstdint>
#include <moe/core/config.hpp>
#include <moe_lab/precision.hpp>
#include <string>

// The structures of the compiled models, and the settings that a run starts from.

namespace shakespeare {

/// The settings that options can change, and that a resumed run takes from its checkpoint.
struct Settings {
  std::string preset = {}, precision = "float";
  int steps = 0, batch = 0;    // sequences of the model's context
  std::string optimizer = {};  // muon or adamw
  double muon_lr = 0.02, muon_momentum = 0.95, muon_decay = 0.1;
  double adamw_lr = 1e-3, beta1 = 0.9, beta2 = 0.95, adamw_decay = 0.1;
  double clip = 1;
  int warmup = 100;         // updates
  double final_rate = 0.1;  // share of the peak at the last update
  double dropout = 0;       // on the embedding, attention, and both branches
  double balance_weight = 0.01, z_weight = 0.001, entropy_weight = 0;
  int eval_every = 250, sample_every = 0;  // 0: no samples during training
  std::uint64_t seed = 1337;

  /// The list of options that change a field: see lab::Knobs. The second spelling of a flag is that
  /// of the document that this program reproduces.
  template <class F>
  static void for_each_knob(F&& f) {
    f("--steps,--max_steps", &Settings::steps, "Updates");
    f("--batch,--batch_size", &Settings::batch, "Sequences of one update");
    f("--warmup,--warmup_steps", &Settings::warmup, "Updates until the peak rate");
    f("--precision", &Settings::precision, lab::precisions,
      "Type of the activations: float (default of train), bf16, or auto (default of demo): what is "
      "measured to be faster here");
    f("--optimizer", &Settings::optimizer, "muon or adamw");
    f("--dropout", &Settings::dropout, "Dropout rate, 0 to below 1");
    f("--balance,--lb_weight", &Settings::balance_weight, "Weight of the balance loss");
    f("--z-loss,--zloss_weight", &Settings::z_weight, "Weight of the z-loss of the router");
    f("--entropy,--entropy_weight", &Settings::entropy_weight,
      "Weight of the router's entropy bonus");
    f("--seed", &Settings::seed, "Seed of initial values, batches and dropout");
    f("--eval-every", &Settings::eval_every, "Steps between evaluations");
    f("--sample-every", &Settings::sample_every,
      "Steps between samples of text, printed and kept in OUT/samples.jsonl; 0: none");
  }
};

/// A mixture that learns verse on two cores in under three minutes.
inline constexpr moe::ModelConfig demo_config{.vocab = 65,
                                              .dim = 128,
                                              .layers = 4,
                                              .heads = 4,
                                              .context = 128,
                                              .norm = moe::Norm::rms,
                                              .position = moe::Position::rope_half,
                                              .activation = moe::Activation::swiglu,
                                              .moe = {.experts = 4, .top_k = 2, .hidden = 256}};
inline const Settings demo_settings{.preset = "demo",
                                    .steps = 1100,
                                    .batch = 16,
                                    .optimizer = "muon",
                                    .muon_lr = 0.03,
                                    .muon_decay = 0.2,
                                    .adamw_lr = 3e-3,
                                    .beta2 = 0.95,
                                    .adamw_decay = 0,
                                    .warmup = 50,
                                    .final_rate = 0.02,
                                    .eval_every = 250};

/// As many updates in bf16 take about as long as the demo's in float where its products are twice
/// as fast (Zen 4).
inline constexpr int demo_bf16_steps = 1800;

/// The demo's model, trained for the 500 steps of the document's quick test, with a sample every
/// 100.
inline const Settings quick_settings = [] {
  Settings s = demo_settings;
  s.preset = "quick", s.steps = 500, s.eval_every = 100, s.sample_every = 100;
  return s;
}();

/// The Tiny-Shakespeare mixture of electrixoul/moe_tests with its defects mended: the balance loss
/// has its plus sign, experts start like every other matrix, only matrices decay, schedules count
/// updates, evaluation covers the validation split once, and the best checkpoint is that of the
/// lowest cross entropy.
inline constexpr moe::ModelConfig full_config{.vocab = 65,
                                              .dim = 384,
                                              .layers = 4,
                                              .heads = 6,
                                              .context = 256,
                                              .bias = true,
                                              .norm = moe::Norm::layer,
                                              .position = moe::Position::learned,
                                              .activation = moe::Activation::gelu,
                                              .moe = {.experts = 8, .top_k = 2, .hidden = 768}};
inline const Settings full_settings{.preset = "full",
                                    .steps = 2000,
                                    .batch = 16,
                                    .optimizer = "adamw",
                                    .muon_lr = 0.02,
                                    .adamw_lr = 1e-3,
                                    .warmup = 100,
                                    .final_rate = 0.1};

/// The same model with the numbers that its document publishes. It takes hours.
inline const Settings document_settings{.preset = "document",
                                        .steps = 10000,
                                        .batch = 64,
                                        .optimizer = "adamw",
                                        .adamw_lr = 3e-3,
                                        .warmup = 2000,
                                        .final_rate = 0,
                                        .balance_weight = 0.05,
                                        .z_weight = 0.001,
                                        .sample_every = 1000};

/// The GPU recipe of nanoGPT's train_shakespeare_char.py: dense.
inline constexpr moe::ModelConfig nanogpt_config{.vocab = 65,
                                                 .dim = 384,
                                                 .layers = 6,
                                                 .heads = 6,
                                                 .context = 256,
                                                 .norm = moe::Norm::layer,
                                                 .position = moe::Position::learned,
                                                 .activation = moe::Activation::gelu};
inline const Settings nanogpt_settings{.preset = "nanogpt",
                                       .steps = 5000,
                                       .batch = 64,
                                       .optimizer = "adamw",
                                       .adamw_lr = 1e-3,
                                       .beta2 = 0.99,
                                       .warmup = 100,
                                       .final_rate = 0.1,
                                       .dropout = 0.2};

/// The same model with bytes as tokens, for texts with more characters than it has tokens.
constexpr moe::ModelConfig of_bytes(moe::ModelConfig config) {
  config.vocab = 256;
  return config;
}

}  // namespace shakespeare
