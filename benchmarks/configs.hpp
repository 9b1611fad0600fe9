#pragma once
#include <moe/core/config.hpp>
#include <moe_lab/configs.hpp>

#include "../lab/programs/shakespeare/presets.hpp"
#include "../lab/programs/upcycle/presets.hpp"

// The models that the benchmarks measure. benchmarks/peers/pytorch.py builds the same.

namespace bench {

/// A model and the batch and optimizer that it is trained with.
struct Case {
  const char* name;
  moe::ModelConfig model;
  int batch, length;  // sequences, and tokens of each
  bool muon;
};

/// The `full` preset of the program shakespeare: 21.4 M parameters, 7.2 M active.
inline constexpr Case shakespeare{"shakespeare", ::shakespeare::full_config, 16, 256, false};

/// The mixture of exp5 (blueberry-llm): 79.1 M parameters, 36.6 M active, half the work in the
/// head.
inline constexpr Case simple{"simple", lab::paper, 4, 512, true};

/// The grown mixture of model-growth, preset `paper` of the program upcycle: 371.6 M parameters,
/// 138.9 M active.
inline constexpr Case tinystories{
    "tinystories", growth::mixture(growth::paper_simple, moe::Recipe::copy), 8, 256, false};

/// nanoGPT's character model: dense, 10.7 M parameters.
inline constexpr Case nanogpt{"nanogpt", ::shakespeare::nanogpt_config, 16, 256, false};

/// What `./dev demo` trains.
inline constexpr Case demo{"demo", ::shakespeare::demo_config, 16, 128, true};

}  // namespace bench
