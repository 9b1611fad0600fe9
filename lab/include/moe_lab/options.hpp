#pragma once
#include <moe/core/enum_names.hpp>
#include <moe/optim/muon.hpp>
#include <moe/train/trainer_options.hpp>
#include <string>
#include <type_traits>
#include <utility>

// Makes the options of the library from the settings of a program. Where the settings lack a field,
// the library's default stays.

namespace lab {

template <class S>
moe::AdamWOptions adamw_options(const S& s) {
  moe::AdamWOptions o{.lr = s.adamw_lr,
                      .beta1 = s.beta1,
                      .beta2 = s.beta2,
                      .weight_decay = s.adamw_decay,
                      .clip = s.clip};
  if constexpr (requires { s.eps; }) o.eps = s.eps;
  return o;
}

template <class S>
moe::MuonOptions muon_options(const S& s) {
  moe::MuonOptions o{.lr = s.muon_lr,
                     .momentum = s.muon_momentum,
                     .weight_decay = s.muon_decay,
                     .rest = adamw_options(s).rule(),
                     .clip = s.clip};
  if constexpr (requires { s.nesterov; }) {
    o.nesterov = s.nesterov;
    o.scale = moe::parse_enum<moe::MuonScale>("--muon-scale", s.muon_scale);
    o.method = moe::parse_enum<moe::Orthogonalization>("--orthogonalisation", s.orthogonalisation);
  }
  return o;
}

/// Calls f(std::type_identity<Optimizer>{}, its options) with the optimizer that the settings name.
///
///     lab::with_optimizer<Model>(settings, [&]<class O>(std::type_identity<O>, auto options) {
///       O optimizer(model, options);
///     });
template <class Model, class S, class F>
auto with_optimizer(const S& s, F&& f) {
  if (s.optimizer == "adamw") return f(std::type_identity<moe::AdamW<Model>>{}, adamw_options(s));
  return f(std::type_identity<moe::Muon<Model>>{}, muon_options(s));
}

/// `out`: the folder of the run.
template <class S>
moe::TrainerOptions trainer_options(const S& s, const std::string& out) {
  moe::TrainerOptions o{.sequences = s.batch,
                        .schedule_options = {.warmup = s.warmup, .final = s.final_rate},
                        .eval_every = s.eval_every,
                        .seed = s.seed,
                        .out = out};
  if constexpr (requires { s.steps; }) o.steps = s.steps;
  if constexpr (requires { s.length; }) {
    o.length = s.length, o.eval_length = s.eval_length;
    o.accumulation = s.accumulation;
    o.log_every = s.log_every;
    o.windows = moe::parse_enum<moe::Windows>("--windows", s.windows);
    o.schedule = moe::parse_enum<moe::ScheduleKind>("--schedule", s.schedule);
  }
  return o;
}

}  // namespace lab
