#pragma once
#include <functional>
#include <moe/train/trainer.hpp>
#include <moe_lab/progress.hpp>
#include <moe_lab/resources.hpp>
#include <moe_lab/signals.hpp>
#include <string>
#include <vector>

namespace lab {

/// The use of the machine, as columns of metrics.jsonl and curves of TensorBoard.
inline std::vector<moe::Measurement> measurements(const Resources& use) {
  std::vector<moe::Measurement> all = {{"cpu_percent", use.cpu_percent},
                                       {"memory_mb", use.memory_mb}};
  if (use.gpus.empty()) return all;
  const GpuUse gpu = all_gpus(use.gpus);
  all.push_back({"gpu_percent", gpu.utilization_percent});
  all.push_back({"gpu_memory_mb", gpu.memory_used_mb, false});
  all.push_back({"gpu_temperature_c", gpu.temperature_c, false});
  return all;
}

/// Watches one run: shows its progress, measures the machine for its metrics, and stops it after a
/// signal. It must outlive the trainer.   Test: tests/lab/watch.cpp.
///
///     lab::Watch watch({.steps = 2000, .flops_per_token = flops});
///     moe::Trainer trainer(model, optimizer, train, validation, options, watch.callbacks());
class Watch {
 public:
  explicit Watch(const Progress::Options& options) : progress(options) {}
  Watch(const Watch&) = delete;

  /// `after_step` is called when a step has been shown.
  moe::TrainerCallbacks callbacks(std::function<void(const moe::StepRecord&)> after_step = {}) {
    return {.measure =
                [this] {
                  use_ = monitor_.sample();
                  return measurements(use_);
                },
            .on_step =
                [this, after_step = std::move(after_step)](const moe::StepRecord& row) {
                  progress.step(row, use_);
                  if (after_step) after_step(row);
                },
            .on_evaluation = [this](const moe::EvaluationRecord& row) { progress.evaluation(row); },
            .on_warning = [this](const std::string& text) { progress.message("warning: " + text); },
            .should_stop = signals::interrupted};
  }

  Progress progress;

 private:
  ResourceMonitor monitor_;
  Resources use_;  // at the time of the last row
};

}  // namespace lab
