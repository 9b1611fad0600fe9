#pragma once
#include <cmath>
#include <moe/checkpoint/train_state.hpp>
#include <moe/io/json.hpp>
#include <moe/model/flops.hpp>
#include <moe/model/parameters.hpp>
#include <moe/train/trainer_options.hpp>

namespace moe::inline MOE_ISA::detail {

/// Tokens per second, or unknown.
inline double speed(std::int64_t tokens, double seconds) {
  return seconds > 0 ? double(tokens) / seconds : unknown;
}

/// The results of a run until now; see Trainer::summary.
template <class Model>
Json run_summary(const Model& model, const TrainState& state, const TrainerOptions& options,
                 std::int64_t skipped) {
  const ParameterCount parameters = parameter_count<Model>();
  Json json;
  json["params_total"] = parameters.total;
  json["params_active"] = parameters.active;
  json["params_embedding"] = parameters.embedding;
  json["steps"] = state.step;
  json["tokens"] = state.tokens;
  json["seconds"] = state.seconds;
  json["tokens_per_second"] = speed(state.tokens, state.seconds);
  json["flops_per_token"] = token_flops(Model::config, options.length).training();
  json["train_loss"] = state.last_train_loss;
  json["val_loss"] = state.last_loss;
  json["val_perplexity"] = std::exp(state.last_loss);
  json["best_val_loss"] = state.best_loss;
  json["best_step"] = state.best_step < 0 ? Json() : Json(state.best_step);
  json["skipped_updates"] = skipped;
  const auto why = failure(state);
  json["failure"] = why ? Json(why->what()) : Json();
  json["device"] = model.backend().describe();
  json["seed"] = options.seed;
  return json;
}

}  // namespace moe::detail
