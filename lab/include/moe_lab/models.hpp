#pragma once
#include <moe/model/parameters.hpp>
#include <moe_lab/configs.hpp>
#include <moe_lab/run.hpp>

// The models of the laboratory, fixed when it is compiled: each in a file of its own in models/.

namespace lab {

/// A compiled model: what is known of it, and its training loop.
struct Model {
  const char* name;
  const char* scalar;  // of the activations: fp32 or bf16
  ModelConfig config;
  moe::ParameterCount parameters;
  Outcome (*run)(const Job&, const char* name);
  std::string (*plan)(const Settings&, int threads);
  /// Errors: it needs more memory than there is. To be asked before anything is removed.
  void (*require_room)(const Settings&, int threads);

  Outcome train(const Job& job) const { return run(job, name); }
  double flops(int length) const { return moe::token_flops(config, length).training(); }
};

Model tiny_moe(), tiny_dense(), tiny_iso_active();
Model small_moe(), small_dense(), small_iso_active();
Model small_alternate(), small_alternate_iso_active();
Model small_last_half(), small_last_half_iso_active();
/// The same with activations in bfloat16; parameters and sums stay in fp32.
Model tiny_moe_bf16(), small_moe_bf16();
Model paper_moe(), paper_dense(), paper_alternate(), paper_alternate_iso_active();

/// Of the header that MOE_LAB_MODEL names.
Model custom_moe();
Settings custom_settings();

}  // namespace lab
