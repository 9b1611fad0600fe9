#pragma once
#include <string>
#include <vector>

#include "data.hpp"
#include "presets.hpp"

// What main.cpp knows of the models: each is compiled in a file of its own.

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

/// A compiled model. Each function but `plan` gives the exit code; errors are thrown as moe::Error.
struct Model {
  moe::ModelConfig config;
  int (*plan)(const TrainRequest&);
  int (*train)(const TrainRequest&, const Data&);
  int (*evaluate)(const EvaluateRequest&, const Data&);
  int (*sample)(const SampleRequest&, const Vocabulary&);
};

Model demo_model();
Model demo_bytes_model();
Model full_model();
Model full_bytes_model();
Model nanogpt_model();

/// A name for a model and the numbers a run starts from. `bytes`: for texts with too many
/// characters, null where nobody has asked for it.
struct Preset {
  Settings defaults;
  Model (*characters)();
  Model (*bytes)();

  Model model(const Vocabulary& vocabulary) const {
    return vocabulary.is_bytes() ? bytes() : characters();
  }
};

inline std::vector<Preset> presets() {
  return {{demo_settings, demo_model, demo_bytes_model},
          {quick_settings, demo_model, demo_bytes_model},
          {document_settings, full_model, full_bytes_model},
          {full_settings, full_model, full_bytes_model},
          {nanogpt_settings, nanogpt_model, nullptr}};
}

}  // namespace shakespeare
