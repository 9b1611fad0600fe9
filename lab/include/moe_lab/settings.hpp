#pragma once
#include <cstdint>
#include <moe/optim/muon.hpp>
#include <moe/train/trainer_options.hpp>
#include <moe_lab/names.hpp>
#include <moe_lab/precision.hpp>
#include <string>

// Every number that a run of the laboratory starts from, except the structure of its model.

namespace lab {

/// Steps and warm-up are updates of the optimizer, never micro-batches.
struct Settings {
  std::string model = {};  // a name for model() of models.hpp
  std::string precision = "float";
  int steps = 0, batch = 0, length = 0, accumulation = 1;
  std::string optimizer = "muon", schedule = "cosine", windows = "random";
  int warmup = -1;          // below 0: a twentieth of the steps
  double final_rate = 0.1;  // share of the peak at the end
  double muon_lr = 0.01, muon_momentum = 0.95, muon_decay = 0;
  bool nesterov = true;
  std::string muon_scale = "keller", orthogonalisation = "newton_schulz5";
  double adamw_lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, adamw_decay = 0.1;
  double clip = 1;
  double dropout = 0.1;  // at all six places of DropoutRates
  double balance_weight = 0.01, z_weight = 0, router_noise = 0.1, init_std = 0.02;
  int eval_every = 100, eval_length = 0, eval_tokens = 0, log_every = 10;
  std::uint64_t seed = 42;

  /// The list of options that programs, tests and documents share: see Knobs.
  template <class F>
  static void for_each_knob(F&& f) {
    constexpr double many = 1 << 30;
    f("--steps", &Settings::steps, 1, many, "Updates of the optimizer");
    f("--batch", &Settings::batch, 1, 1 << 16, "Sequences of one micro-batch");
    f("--length", &Settings::length, 1, 1 << 20, "Tokens of a sequence");
    f("--accumulation", &Settings::accumulation, 1, 1 << 16, "Micro-batches of one update");
    f("--precision", &Settings::precision, precisions, precision_help);
    f("--optimizer", &Settings::optimizer, Names{"muon", "adamw"},
      "muon (hidden matrices, AdamW for the rest) or adamw");
    f("--schedule", &Settings::schedule, names_of<moe::ScheduleKind>(),
      "cosine, warmup_stable_decay or constant");
    f("--windows", &Settings::windows, names_of<moe::Windows>(),
      "Training windows: at random places, or shuffled: each once in an epoch");
    f("--warmup", &Settings::warmup, -1, many, "Updates of warm-up; -1: a twentieth of the steps");
    f("--final-rate", &Settings::final_rate, 0, 1, "Share of the peak learning rate at the end");
    f("--muon-lr", &Settings::muon_lr, 0, 1e3, "Peak learning rate of Muon's matrices");
    f("--muon-momentum", &Settings::muon_momentum, 0, 0.9999, "Momentum of Muon");
    f("--muon-decay", &Settings::muon_decay, 0, 1e3, "Weight decay of Muon's matrices");
    f("--nesterov", &Settings::nesterov, 0, 1, "Nesterov momentum in Muon: 1 or 0");
    f("--muon-scale", &Settings::muon_scale, names_of<moe::MuonScale>(), "keller or moonlight");
    f("--orthogonalisation", &Settings::orthogonalisation, names_of<moe::Orthogonalization>(),
      "newton_schulz5 or polar_express5");
    f("--adamw-lr", &Settings::adamw_lr, 0, 1e3, "Peak learning rate of AdamW");
    f("--beta1", &Settings::beta1, 0, 0.99999, "AdamW's first decay rate");
    f("--beta2", &Settings::beta2, 0, 0.99999, "AdamW's second decay rate");
    f("--eps", &Settings::eps, 1e-30, 1, "AdamW's epsilon");
    f("--weight-decay", &Settings::adamw_decay, 0, 1e3, "Weight decay of AdamW's matrices");
    f("--clip", &Settings::clip, 1e-9, 1e30, "Largest norm of the gradient");
    f("--dropout", &Settings::dropout, 0, 0.99,
      "After the embedding, on attention, in experts ...");
    f("--balance", &Settings::balance_weight, 0, 1e3, "Weight of the load-balancing loss");
    f("--z-loss", &Settings::z_weight, 0, 1e3, "Weight of the router's z-loss");
    f("--router-noise", &Settings::router_noise, 0, 1e3, "Deviation of the noise on router logits");
    f("--init-std", &Settings::init_std, 0, 10, "Deviation of the initial weights");
    f("--eval-every", &Settings::eval_every, 1, many, "Updates between evaluations");
    f("--eval-length", &Settings::eval_length, 0, 1 << 20,
      "Tokens of a validation window; 0: --length");
    f("--eval-tokens", &Settings::eval_tokens, 0, many,
      "Evaluate on the first so many validation tokens; 0: on all");
    f("--log-every", &Settings::log_every, 1, many, "Updates between rows of metrics.jsonl");
  }
};

}  // namespace lab
