#pragma once
#include <string>

#include "presets.hpp"

// What main.cpp knows of a model: each is compiled in a file of its own.

namespace growth {

struct Request {
  Settings settings = {};
  std::string data = {}, vocabulary = {}, tokenizer = {}, out = {};
  int seeds = 1, threads = 0, sample_tokens = 40, stories = 0, log_every = 10;
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

}  // namespace growth
