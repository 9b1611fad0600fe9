#pragma once
#include <cmath>
#include <moe/io/json.hpp>
#include <moe/io/tensorboard.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/optimizer.hpp>
#include <moe/train/router_health.hpp>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

/// A number of the moment that is no part of training, such as the use of the processor.
struct Measurement {
  std::string name;
  double value = unknown;
  bool curve = true;  // also the curve perf/NAME of TensorBoard
};

/// One update, as passed to callbacks.
struct StepRecord {
  std::int64_t step = 0, tokens = 0, skipped = 0;
  double seconds = 0;  // training only, over all sessions
  Loss loss = {};      // means over the batches of the update
  StepReport report = {};
  double tokens_per_second = unknown;          // training only, since this session began
  std::vector<std::vector<double>> load = {};  // [MoE layer][expert], shares of the assignments
  std::vector<RouterHealth> health = {};       // [MoE layer]
  std::vector<double> router_entropy = {};     // [MoE layer], nats
  int collapsed = 0;                           // layers that RouterSentinel reports as collapsed
  std::vector<Measurement> measurements = {};  // of TrainerCallbacks::measure, in the last row
};

/// One evaluation. Units: nats.
struct EvaluationRecord {
  std::int64_t step = 0, tokens = 0;
  double seconds = 0;
  double train_loss = unknown;  // mean of the finite losses since the last evaluation
  double loss = unknown;
  double accuracy = unknown;  // share of targets with the highest logit
  bool best = false;
  double tokens_per_second = unknown;  // of training, as in StepRecord
};

/// The rows of metrics.jsonl. seconds, tokens_per_second and the measurements depend on the moment.
/// All other fields have the same bits in a run that was stopped and resumed. A value that is not
/// known (a loss that is not finite) is null.
/// Test: tests/train/trainer.cpp.
inline Json metrics_row(const StepRecord& row) {
  Json json;
  json["kind"] = "train";
  json["step"] = row.step;
  json["tokens"] = row.tokens;
  json["loss"] = row.loss.cross_entropy;
  json["accuracy"] = row.loss.accuracy;
  json["balance"] = row.loss.balance;
  json["z"] = row.loss.z;
  json["entropy"] = row.loss.entropy;
  json["total"] = row.loss.total;
  json["lr"] = row.report.lr;
  json["grad_norm"] = row.report.grad_norm;
  json["skipped"] = row.skipped;
  json["tokens_per_second"] = row.tokens_per_second;
  json["seconds"] = row.seconds;
  for (const Measurement& m : row.measurements) json[m.name] = m.value;
  json["expert_load"] = Json::array();
  json["effective_experts"] = Json::array();
  json["max_violation"] = Json::array();
  json["dead_experts"] = Json::array();
  json["router_entropy"] = Json::array();
  for (std::size_t layer = 0; layer < row.load.size(); ++layer) {
    json["expert_load"].push_back(row.load[layer]);
    json["effective_experts"].push_back(row.health[layer].effective_experts);
    json["max_violation"].push_back(row.health[layer].max_violation);
    json["dead_experts"].push_back(row.health[layer].dead_experts);
    json["router_entropy"].push_back(row.router_entropy[layer]);
  }
  return json;
}
inline Json metrics_row(const EvaluationRecord& row) {
  Json json;
  json["kind"] = "eval";
  json["step"] = row.step;
  json["tokens"] = row.tokens;
  json["train_loss"] = row.train_loss;
  json["val_loss"] = row.loss;
  json["val_accuracy"] = row.accuracy;
  json["val_perplexity"] = std::exp(row.loss);
  json["best"] = row.best;
  json["tokens_per_second"] = row.tokens_per_second;
  json["seconds"] = row.seconds;
  return json;
}

/// Writes the same numbers as TensorBoard curves. The load of a layer is a histogram over its
/// experts.
inline void write(TensorBoardWriter& board, const StepRecord& row) {
  const auto put = [&](const std::string& tag, double value) {
    board.scalar(tag, row.step, value);
  };
  put("loss/train", row.loss.cross_entropy);
  put("accuracy/train", row.loss.accuracy);
  put("opt/lr", row.report.lr);
  put("opt/grad_norm", row.report.grad_norm);
  const auto put_known = [&](const std::string& tag, double value) {
    if (!std::isnan(value)) put(tag, value);
  };
  put_known("perf/tokens_per_second", row.tokens_per_second);
  for (const Measurement& m : row.measurements)
    if (m.curve) put_known("perf/" + m.name, m.value);
  if (row.load.empty()) return;
  put("aux/balance", row.loss.balance);
  put("aux/z", row.loss.z);
  for (std::size_t i = 0; i < row.load.size(); ++i) {
    const std::string layer = "/layer" + std::to_string(i);
    put("router/entropy" + layer, row.router_entropy[i]);
    put("router/effective_experts" + layer, row.health[i].effective_experts);
    put("router/max_violation" + layer, row.health[i].max_violation);
    put("router/dead_experts" + layer, row.health[i].dead_experts);
    board.histogram("router/load" + layer, row.step, expert_histogram(row.load[i]));
  }
}
inline void write(TensorBoardWriter& board, const EvaluationRecord& row) {
  board.scalar("loss/val", row.step, row.loss);
  board.scalar("accuracy/val", row.step, row.accuracy);
  board.scalar("perplexity/val", row.step, std::exp(row.loss));
}

}  // namespace moe
