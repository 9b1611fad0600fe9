#pragma once
#include <functional>
#include <moe/train/records.hpp>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

/// Why Trainer::run came back: all steps are done, pause_at was reached, should_stop said so, or
/// the patience is at its end.
enum class StopReason { finished, paused, stopped, early_stopped };

/// What a Trainer calls, in the thread that trains. Each may be empty. Where a backend computes on
/// its own, the model may have made the next update already when on_step tells of one; at
/// evaluations and checkpoints it has not. So a checkpoint of one's own is for on_evaluation.
struct TrainerCallbacks {
  // Asked for numbers of its own just before a row is written; they become columns of
  // metrics.jsonl and curves of TensorBoard.
  std::function<std::vector<Measurement>()> measure = {};
  std::function<void(const StepRecord&)> on_step = {};
  std::function<void(const EvaluationRecord&)> on_evaluation = {};
  std::function<void(const std::string&)> on_warning = {};
  // Asked after every step and between the batches of an evaluation, which is then given up: the
  // resumed run begins with it. `last` is saved before the end.
  std::function<bool()> should_stop = {};
};

}  // namespace moe
