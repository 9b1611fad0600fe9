#pragma once
#include <moe/flops.hpp>
#include <moe/io/files.hpp>
#include <moe/train/config_json.hpp>
#include <string>

#include "data.hpp"
#include "settings.hpp"

// One training run of the laboratory: what it is asked, what came out, and its folder.

namespace lab {

/// A run, in a folder of its own so that it can be stopped and resumed anywhere.
struct Job {
  Settings settings;
  const Data& data;
  std::string folder, name, program, command;
  int threads = 0;
  bool resume = false, progress = true;
};

/// What a run came to. Losses: validation, nats. Time: of training alone.
struct Outcome {
  double loss = 0, accuracy = 0, best = 0, train_loss = 0, seconds = 0, flops = 0, memory_mb = 0;
  std::int64_t updates = 0, tokens = 0;
  bool diverged = false;  // then the losses are infinite

  double tokens_per_second() const { return double(tokens) / std::max(seconds, 1e-9); }
};

/// Thrown after a signal, when the run has saved itself.
struct Stopped {};

/// Set by Ctrl-C.
bool interrupted();

}  // namespace lab
