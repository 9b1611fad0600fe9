#pragma once
#include <moe/model/parameters.hpp>
#include <moe_lab/compiled.hpp>
#include <moe_lab/configs.hpp>
#include <moe_lab/run.hpp>

// The models of the laboratory, fixed when it is compiled. Their list is in lab/CMakeLists.txt.

namespace lab {

/// A compiled model: its properties and its training loop.
struct Model {
  const char *name, *precision;
  ModelConfig config;
  moe::ParameterCount parameters;
  Outcome (*run)(const Job&, const char* name);
  std::string (*plan)(const Settings&, int threads);
  double (*product_gflops)(int threads);
  /// Errors: training needs more memory than there is. Call it before old results are removed.
  void (*require_room)(const Settings&, int threads);

  Outcome train(const Job& job) const { return run(job, name); }
  double flops(int length) const { return moe::token_flops(config, length).training(); }
};

/// A compiled model by its name: see variant().   Errors: no compiled model has this name.
inline const Model& model(const std::string& name) {
  return get_compiled<Model>(name);
}

}  // namespace lab
