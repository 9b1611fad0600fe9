#pragma once
#include <moe/io/json.hpp>
#include <moe/metrics.hpp>
#include <moe/optim/update.hpp>
#include <moe/transformer.hpp>
#include <vector>

namespace moe {

/// One update, as callbacks see it.
struct StepRow {
  std::int64_t step = 0, tokens = 0, skipped = 0;
  double seconds = 0;  // of training alone, over all sessions
  Loss loss = {};      // means over the batches of the update
  StepReport report = {};
  double tokens_per_second = 0;                // of training alone, since the start of the session
  std::vector<std::vector<double>> load = {};  // [MoE layer][expert], shares of the assignments
  std::vector<RouterHealth> health = {};       // [MoE layer]
  int collapsed = 0;                           // layers that have been collapsed for long
};

/// One evaluation. Units: nats.
struct EvaluationRow {
  std::int64_t step = 0, tokens = 0;
  double seconds = 0;
  double train_loss = 0;  // mean of the steps since the last evaluation
  double loss = 0;
  bool best = false;
};

/// The rows of metrics.jsonl. Fields of time: seconds, tokens_per_second; all others are the same
/// bits in a run that was stopped and resumed.   Test: tests/train/trainer.cpp.
inline Json metrics_row(const StepRow& row) {
  Json json;
  json["kind"] = "train";
  json["step"] = row.step;
  json["tokens"] = row.tokens;
  json["loss"] = row.loss.cross_entropy;
  json["balance"] = row.loss.balance;
  json["z"] = row.loss.z;
  json["entropy"] = row.loss.entropy;
  json["total"] = row.loss.total;
  json["lr"] = row.report.lr;
  json["grad_norm"] = row.report.grad_norm;
  json["skipped"] = row.skipped;
  json["tokens_per_second"] = row.tokens_per_second;
  json["seconds"] = row.seconds;
  json["expert_load"] = Json::array();
  json["effective_experts"] = Json::array();
  json["dead_experts"] = Json::array();
  for (std::size_t layer = 0; layer < row.load.size(); ++layer) {
    json["expert_load"].push_back(row.load[layer]);
    json["effective_experts"].push_back(row.health[layer].effective_experts);
    json["dead_experts"].push_back(row.health[layer].dead_experts);
  }
  return json;
}
inline Json metrics_row(const EvaluationRow& row) {
  Json json;
  json["kind"] = "eval";
  json["step"] = row.step;
  json["tokens"] = row.tokens;
  json["train_loss"] = row.train_loss;
  json["val_loss"] = row.loss;
  json["val_perplexity"] = std::exp(row.loss);
  json["best"] = row.best;
  json["seconds"] = row.seconds;
  return json;
}

}  // namespace moe
