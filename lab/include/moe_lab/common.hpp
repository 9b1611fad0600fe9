#pragma once
#include <string>

namespace lab {

/// The options of programs that train.
struct Common {
  std::string out = {};  // folder of the results; "": the default one
  std::string data = {}, vocabulary = {}, tokenizer = {};
  int stories = 0, threads = 0;
  bool resume = false, overwrite = false, replace_default = false;
  bool dry_run = false, progress = true;
  bool plots = false, no_plots = false;    // neither: drawn if possible
  std::string command = {}, program = {};  // the command line, and the program's name
};

}  // namespace lab
