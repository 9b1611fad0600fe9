#pragma once
#include <cmath>
#include <moe/checkpoint/config_json.hpp>
#include <moe/io/files.hpp>
#include <moe/model/flops.hpp>
#include <moe_lab/data.hpp>
#include <moe_lab/settings.hpp>
#include <string>

// One training run of the laboratory: its job and its outcome.

namespace lab {

/// What a run is to do. It has a folder of its own, so that it can be stopped and resumed at any
/// time.
struct Job {
  Settings settings;
  const Data& data;
  std::string folder, name, program, command;
  int threads = 0;
  bool resume = false, progress = true;
};

/// The result of a run. Losses are validation losses in nats, except train_loss. Times exclude
/// evaluations.
struct Outcome {
  double loss = moe::unknown, accuracy = moe::unknown, best = moe::unknown,
         train_loss = moe::unknown;
  double seconds = 0, flops = 0, memory_mb = moe::unknown;
  std::int64_t updates = 0, tokens = 0, skipped = 0;
  bool diverged = false;  // then `loss` is infinite

  double tokens_per_second() const { return seconds > 0 ? double(tokens) / seconds : moe::unknown; }
  /// Whether the result must not be used: the run diverged, or most of its updates were skipped.
  bool failed() const {
    return diverged || 2 * skipped > updates || (std::isinf(loss) && !std::isnan(loss));
  }
};

}  // namespace lab
