#pragma once
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <moe/core/error.hpp>
#include <moe_lab/process.hpp>
#include <string>
#include <vector>

// Builds the program for a model that is not compiled in, and runs it in place of this one.

namespace simple_moe {

/// Builds simple_moe_custom for the model of `header` and becomes that program, with `options`.
/// Does not return.
/// Errors: there is no such file; the program cannot be built or started.
/// Test: tests/custom_model/run.cmake.
inline int become_custom(const std::string& header, const std::vector<std::string>& options) {
  std::error_code error;
  const std::string path = std::filesystem::canonical(header, error).string();
  if (error)
    throw moe::Error("cannot build a program for '", header, "': ", error.message(),
                     "; give the header of a model");
  const std::string folder = MOE_BUILD_DIR, cmake = MOE_CMAKE, program = MOE_CUSTOM_PROGRAM;
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{cmake, "-Wno-dev", "-D", "MOE_LAB_MODEL=" + path, folder},
        {cmake, "--build", folder, "--target", "simple_moe_custom"}})
    if (lab::run(command, lab::Output::shown) != 0)
      throw moe::Error("cannot build a program for '", header, "' in '", folder,
                       "': CMake says why above; correct the header, or build it by hand");
  std::vector<std::string> words = options;
  words.insert(words.begin(), program);
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::fflush(stdout);
  ::execv(program.c_str(), arguments.data());
  throw moe::Error("cannot start '", program, "', although it was built; start it by hand");
}

}  // namespace simple_moe
