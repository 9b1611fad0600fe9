#pragma once
#include <string>

#include "presets.hpp"

// What main.cpp knows of a model: each is compiled in a file of its own.

namespace growth {

struct Request {
  Settings settings = {};
  std::string data = {}, vocabulary = {}, out = {};
  int seeds = 1, threads = 0, sample_tokens = 40;
  bool controls = true, resume = false, overwrite = false, dry_run = false, progress = true;
};

/// Gives the exit code; errors are thrown as moe::Error.
using Program = int (*)(const Request&);

Program tiny_simple_program();
Program tiny_smollm_program();
Program small_simple_program();
Program small_smollm_program();
Program paper_simple_program();
Program paper_smollm_program();

/// Set by Ctrl-C: the run saves itself and ends after the step it is in.
bool interrupted();

}  // namespace growth
