#pragma once
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace lab {

/// Runs a program and waits; -1 when it could not be started. A quiet one prints nothing.
inline int execute(const std::vector<std::string>& words, bool quiet) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) return -1;
  if (child == 0) {
    if (quiet) {
      const int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, 1);
      ::dup2(null, 2);
    }
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Draws the plots of a results folder with lab/programs/plots/plot.py, or says how to. True when
/// they were drawn.
inline bool draw_plots(const std::string& folder) {
  const std::string script = MOE_PLOT_SCRIPT;
  const char* chosen = std::getenv("MOE_PYTHON");
  for (const std::string& python : {std::string(chosen ? chosen : ""), std::string("python3"),
                                    std::string("/usr/bin/python3")}) {
    if (python.empty() || execute({python, "-c", "import matplotlib"}, true) != 0) continue;
    if (execute({python, script, folder}, false) == 0) return true;
    break;
  }
  std::printf("no plots were drawn; with matplotlib installed: python3 %s %s\n", script.c_str(),
              folder.c_str());
  return false;
}

}  // namespace lab
