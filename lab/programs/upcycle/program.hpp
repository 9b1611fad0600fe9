#pragma once
#include <moe_lab/common.hpp>
#include <string>

#include "presets.hpp"

// The interface between main.cpp and the compiled models, which are listed in lab/CMakeLists.txt.

namespace growth {

struct Request {
  Settings settings = {};
  lab::Common common = {};
  int seeds = 1, sample_tokens = 40, log_every = 10;
  bool controls = true;
};

/// A compiled model. `run` runs the experiment with it and returns the exit code; errors are thrown
/// as moe::Error.
struct Model {
  int (*run)(const Request&);
  double (*product_gflops)(int threads);
};

}  // namespace growth
