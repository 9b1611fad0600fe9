#pragma once
#include <moe_lab/models.hpp>
#include <moe_lab/presets.hpp>

namespace ablation {

/// A way to fill the memory: many short sequences or few long ones.
struct Strategy {
  const char* name;
  int batch, length;
};

/// What is compared. All strategies are evaluated on the same windows of `eval_length` tokens,
/// which are no longer than the sequences of any strategy.
struct Preset {
  const char* name;
  lab::Settings settings;
  const char* model;
  Strategy strategies[3];
  const char* rates;
  int eval_length;
  double tokens;  // for each run
  int evaluations;
};

/// The document's strategies, on the small mixture of simple_moe.
inline const Preset full{"full",
                         lab::small_settings,
                         "small",
                         {{"large_batch", 64, 256}, {"long_seq", 8, 1024}, {"balanced", 24, 512}},
                         "0.005,0.01,0.02",
                         256,
                         20 * 49152,
                         10};
/// A quarter of every batch and of every length, on the tiny mixture: about a minute.
inline const Preset quick{"quick",
                          lab::tiny_settings,
                          "tiny",
                          {{"large_batch", 16, 64}, {"long_seq", 2, 256}, {"balanced", 6, 128}},
                          "0.005,0.01,0.02",
                          64,
                          32 * 3072,
                          8};

}  // namespace ablation
