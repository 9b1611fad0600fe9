#pragma once
#include <cmath>
#include <moe/moe.hpp>
#include <moe_lab/format.hpp>
#include <moe_lab/statistics.hpp>

#include "phase.hpp"
#include "specialisation.hpp"
#include "verification.hpp"

// The tables that the program prints and saves.

namespace growth {

using lab::format;

/// The sizes of the models and the lengths of the phases. Work is counted by the library's
/// token_flops.
struct Plan {
  moe::ParameterCount dense, moe;
  double dense_flops = 0, moe_flops = 0;  // of training, for a token
  int dense_steps = 0, moe_steps = 0, control_steps = 0, scratch_steps = 0;
  int batch_tokens = 0;
  std::size_t bytes = 0;  // of both models, and AdamW's for the mixture
};

template <class Dense, class Moe>
Plan make_plan(const Settings& s, int context) {
  Plan plan;
  plan.dense = moe::parameter_count<Dense>();
  plan.moe = moe::parameter_count<Moe>();
  plan.dense_flops = moe::token_flops(Dense::config).training();
  plan.moe_flops = moe::token_flops(Moe::config).training();
  plan.dense_steps = s.phase1_steps;
  plan.moe_steps = s.phase2_steps;
  const double ratio = plan.moe_flops / plan.dense_flops;
  plan.control_steps = int(std::lround(s.phase2_steps * ratio));
  plan.scratch_steps = int(std::lround(s.phase2_steps + s.phase1_steps / ratio));
  plan.batch_tokens = s.batch * context;
  const auto all = [](const auto& m) { return m.params + m.grads + m.cache + m.scratch; };
  // Most is needed while the state of the dense model's optimizer is copied to the mixture's.
  plan.bytes = all(Dense::memory(plan.batch_tokens)) + moe::AdamW<Dense>::bytes_needed() +
               all(Moe::memory(plan.batch_tokens)) + moe::AdamW<Moe>::bytes_needed();
  return plan;
}

struct SeedResult {
  std::uint64_t seed = 0;
  Run dense = {}, moe = {}, control = {}, scratch = {};
  // Losses in nats on the frozen probe.
  double fixed_dense = moe::unknown, fixed_grown = moe::unknown, fixed_final = moe::unknown;
  moe::UpcycleReport report = {};
  Specialisation words = {};
};

/// Line breaks as the two characters \n.
inline std::string one_line(const std::string& text) {
  std::string line;
  for (const char c : text) line += c == '\n' ? "\\n" : std::string(1, c);
  return line;
}

inline std::string describe(const Plan& p, const Settings& s) {
  const auto model = [](const char* name, const moe::ParameterCount& c, double flops) {
    return format(
        "%-8s %11zu parameters, %11zu active, %11zu of them embedding; %.1f MFLOP a token\n", name,
        c.total, c.active, c.embedding, flops * 1e-6);
  };
  return format("preset %s, architecture %s, recipe %s, router %s, optimizer state %s\n",
                s.preset.c_str(), s.architecture.c_str(), s.recipe.c_str(), s.router.c_str(),
                s.optimizer_state.c_str()) +
         model("dense", p.dense, p.dense_flops) + model("mixture", p.moe, p.moe_flops) +
         format(
             "updates of %d tokens: %d dense, %d mixture; controls: %d dense (equal work), %d "
             "mixture from scratch (equal work in all)\nmemory while both models live: %.2f GB\n",
             p.batch_tokens, p.dense_steps, p.moe_steps, p.control_steps, p.scratch_steps,
             double(p.bytes) * 1e-9);
}

/// The verification: the difference on every sequence of the frozen probe, and the load of every
/// layer.
inline std::string describe(const moe::UpcycleReport& r) {
  std::string text = "  frozen probe      max |logit_dense - logit_mixture|\n";
  for (std::size_t i = 0; i < r.sequence_difference.size(); ++i)
    text += format("    sequence %zu      %.3g\n", i, r.sequence_difference[i]);
  text += format(
      "    all             %.3g (%.3g ulp of the largest logit, mean %.3g; logits to %.1f)\n",
      r.max_difference, r.max_ulp, r.mean_difference, r.max_logit);
  text += "  " + r.why + "\n";
  if (r.compensation.weight != 1)
    text += format("  down-projections were multiplied by %g, their biases by %g\n",
                   r.compensation.weight, r.compensation.bias);
  if (r.symmetric)
    text += "  the router is zero: only the balance loss and dropout can part the experts\n";
  for (std::size_t layer = 0; layer < r.load.size(); ++layer) {
    text += format("  layer %zu, share of the assignments:", layer);
    for (const double share : r.load[layer]) text += format(" %.3f", share);
    const moe::RouterHealth health = moe::router_health(r.load[layer]);
    text += format("  (%.1f effective, %d dead)\n", health.effective_experts, health.dead_experts);
  }
  return text;
}

inline std::string boundary(const SeedResult& r) {
  return format("boundary, loss on the frozen probe (nats)\n  dense, end of phase 1   %.6f\n",
                r.fixed_dense) +
         format("  mixture, just grown     %.6f   difference %.3g\n", r.fixed_grown,
                r.fixed_grown - r.fixed_dense) +
         format("  mixture, end of phase 2 %.6f\n", r.fixed_final) +
         format("whole validation split: %.4f before, %.4f just grown, %.4f after phase 2\n",
                r.dense.loss, r.moe.first_loss, r.moe.loss) +
         format("phase 2 total drop (validation loss just grown minus at the end): %.4f\n",
                r.moe.first_loss - r.moe.loss);
}

/// One value from each seed.
template <class F>
std::vector<double> all(const std::vector<SeedResult>& results, const F& value) {
  std::vector<double> values;
  values.reserve(results.size());
  for (const SeedResult& r : results) values.push_back(value(r));
  return values;
}

inline std::string summary(const std::vector<SeedResult>& results, const Plan& plan,
                           bool controls) {
  std::string text = format(
      "\n== %zu seeds, validation loss in nats: mean and standard "
      "deviation\n%-28s%9s%11s%9s%9s%18s%9s\n",
      results.size(), "", "updates", "tokens", "TFLOP", "seconds", "loss", "best");
  const auto row = [&](const char* name, int steps, double flops, Run SeedResult::*run) {
    const auto of = [&](double Run::*member) {
      return lab::spread(all(results, [&](const SeedResult& r) { return r.*run.*member; }));
    };
    const lab::Spread loss = of(&Run::loss), best = of(&Run::best), time = of(&Run::seconds);
    const double tokens = double(steps) * plan.batch_tokens;
    text += format("%-28s%9d%11.0f%9.2f%9.0f %s%9.4f\n", name, steps, tokens,
                   tokens * flops * 1e-12, time.mean, lab::describe(loss).c_str(), best.mean);
  };
  row("dense, phase 1", plan.dense_steps, plan.dense_flops, &SeedResult::dense);
  row("grown mixture, phase 2", plan.moe_steps, plan.moe_flops, &SeedResult::moe);
  if (!controls) return text;
  row("dense goes on, equal work", plan.control_steps, plan.dense_flops, &SeedResult::control);
  row("mixture from scratch", plan.scratch_steps, plan.moe_flops, &SeedResult::scratch);
  const auto against = [&](const char* name, Run SeedResult::*other) {
    const auto losses = [&](Run SeedResult::*run) {
      return all(results, [&](const SeedResult& r) { return (r.*run).loss; });
    };
    const lab::Comparison c = lab::compare(losses(&SeedResult::moe), losses(other));
    text +=
        format("grown mixture minus %-22s%s  %s\n", name, c.amount().c_str(), c.verdict().c_str());
  };
  against("dense control", &SeedResult::control);
  against("mixture from scratch", &SeedResult::scratch);
  return text;
}

inline moe::Json to_json(const std::vector<SeedResult>& results, const Plan& plan,
                         const Request& request, const std::string& source, moe::Recipe recipe) {
  moe::Json json;
  json["study"] = "upcycle";
  json["settings"] = moe::to_json(request.settings);
  json["data"] = source;
  json["params_total"] = plan.moe.total;
  json["params_active"] = plan.moe.active;
  json["params_dense"] = plan.dense.total;
  json["flops_per_token_dense"] = plan.dense_flops;
  json["flops_per_token_moe"] = plan.moe_flops;
  json["seeds"] = moe::Json::array();
  for (const SeedResult& r : results) {
    moe::Json one;
    one["seed"] = r.seed;
    const auto put = [&](const char* name, const Run& run) {
      moe::Json& to = one[name];
      to["steps"] = run.steps;
      to["skipped_updates"] = run.skipped;
      to["tokens"] = run.tokens;
      to["flops"] = run.flops;
      to["seconds"] = run.seconds;
      to["val_loss_before"] = run.first_loss;
      to["val_loss"] = run.loss;
      to["best_val_loss"] = run.best;
      to["train_loss"] = run.train_loss;
    };
    put("dense", r.dense);
    put("moe", r.moe);
    if (request.controls) {
      put("dense_control", r.control);
      put("moe_from_scratch", r.scratch);
    }
    moe::Json& edge = one["boundary"];
    edge["fixed_loss_dense"] = r.fixed_dense;
    edge["fixed_loss_grown"] = r.fixed_grown;
    edge["fixed_loss_final"] = r.fixed_final;
    edge["max_logit_difference"] = r.report.max_difference;
    edge["mean_logit_difference"] = r.report.mean_difference;
    edge["max_ulp"] = r.report.max_ulp;
    edge["phase2_total_drop"] = r.moe.first_loss - r.moe.loss;
    const Promise promise = promise_of(recipe);
    const bool kept = passed(promise, r.report, request.settings.precision);
    edge["verification"] = promise == Promise::none ? "none" : kept ? "passed" : "failed";
    edge["exact"] = r.report.exact;
    edge["why"] = r.report.why;
    edge["expert_load"] = moe::Json::array();
    for (const auto& load : r.report.load) edge["expert_load"].push_back(load);
    one["specialisation"] = to_json(r.words);
    json["seeds"].push_back(std::move(one));
  }
  return json;
}

}  // namespace growth
