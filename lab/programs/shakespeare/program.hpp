#pragma once
#include <moe_lab/common.hpp>
#include <moe_lab/compiled.hpp>
#include <string>
#include <vector>

#include "data.hpp"
#include "presets.hpp"

// The interface between main.cpp and the compiled models, which are listed in lab/CMakeLists.txt.

namespace shakespeare {

struct TrainRequest {
  Settings settings = {};
  lab::Common common = {};
  int pause_at = 0, patience = 0, checkpoint_every = 0, log_every = 10;
};
struct EvaluateRequest {
  std::string checkpoint = {}, data = {}, precision = "float";
  int threads = 0, batch = 0;
};
struct SampleRequest {
  std::string checkpoint = {}, prompt = {}, precision = "float";
  int tokens = 0, top_k = 0, threads = 0;
  double temperature = 1, top_p = 1, min_p = 0;
  std::uint64_t seed = 0;
};

/// A compiled model. Each function returns the exit code; errors are thrown as moe::Error.
struct Model {
  moe::ModelConfig config;
  int (*plan)(const TrainRequest&);
  int (*train)(const TrainRequest&, const Data&);
  int (*evaluate)(const EvaluateRequest&, const Data&);
  int (*sample)(const SampleRequest&, const Vocabulary&);
  double (*product_gflops)(int threads);
};

/// A named choice of a model and the settings that a run starts from. `bytes`: the model for texts
/// with too many characters, null if none is compiled.
struct Preset {
  Settings defaults;
  const char *characters, *bytes;  // names of models

  moe::ModelConfig config() const { return lab::get_compiled<Model>(characters).config; }
  const char* model(const Vocabulary& vocabulary) const {
    return vocabulary.is_bytes() ? bytes : characters;
  }
};

inline std::vector<Preset> presets() {
  return {{demo_settings, "demo", "demo bytes"},
          {quick_settings, "demo", "demo bytes"},
          {document_settings, "full", "full bytes"},
          {full_settings, "full", "full bytes"},
          {nanogpt_settings, "nanogpt", nullptr}};
}

}  // namespace shakespeare
