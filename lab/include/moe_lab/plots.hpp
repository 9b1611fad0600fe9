#pragma once
#include <cstdio>
#include <cstdlib>
#include <moe_lab/process.hpp>
#include <string>

namespace lab {

/// Draws the plots of a results folder with lab/programs/plots/plot.py and returns true. If that is
/// not possible, prints the command for it and returns false.
inline bool draw_plots(const std::string& folder) {
  const std::string script = MOE_PLOT_SCRIPT;
  const char* chosen = std::getenv("MOE_PYTHON");
  for (const std::string& python : {std::string(chosen ? chosen : ""), std::string("python3"),
                                    std::string("/usr/bin/python3")}) {
    if (python.empty() || run({python, "-c", "import matplotlib"}, Output::hidden) != 0) continue;
    if (run({python, script, folder}, Output::shown) == 0) return true;
    break;
  }
  std::printf("no plots were drawn; with matplotlib installed: python3 %s %s\n", script.c_str(),
              folder.c_str());
  return false;
}

}  // namespace lab
