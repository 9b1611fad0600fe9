#pragma once
#include <string>
#include <string_view>

#include "presets.hpp"

// What main.cpp knows of a preset: each is compiled in a file of its own.

namespace shakespeare {

struct TrainRequest {
  Settings settings = {};
  std::string data = {}, out = {};
  bool resume = false, overwrite = false, dry_run = false, progress = true;
  int threads = 0, pause_at = 0, patience = 0, checkpoint_every = 0, log_every = 10;
};
struct EvaluateRequest {
  std::string checkpoint = {}, data = {};
  int threads = 0, batch = 0;
};
struct SampleRequest {
  std::string checkpoint = {}, prompt = {};
  int tokens = 0, top_k = 0, threads = 0;
  double temperature = 1, top_p = 1, min_p = 0;
  std::uint64_t seed = 0;
};

/// Each gives the exit code; errors are thrown as moe::Error.
struct Preset {
  Settings defaults;
  int (*train)(const TrainRequest&);
  int (*evaluate)(const EvaluateRequest&);
  int (*sample)(const SampleRequest&);
};

Preset demo_preset();
Preset full_preset();
Preset nanogpt_preset();

/// Set by Ctrl-C: the run saves itself and ends after the step it is in.
bool interrupted();

}  // namespace shakespeare
