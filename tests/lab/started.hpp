#pragma once
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <moe/io/files.hpp>
#include <string>

#include "catch.hpp"
#include "io/scratch.hpp"

// Shared by tests that start programs: scripts to start, and environment variables for them.

namespace moe::test {

/// Writes a shell script as a program into a scratch folder and returns its path.
inline std::string script(const ScratchFolder& folder, const std::string& commands,
                          const std::string& name) {
  const std::string path = folder / name;
  write_file(path, "#!/bin/sh\n" + commands + "\n");
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  return path;
}

inline double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// While it lives, sets an environment variable, or unsets it if `value` is null.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    if ((was_set_ = before != nullptr)) before_ = before;
    set(value);
  }
  Environment(const Environment&) = delete;
  ~Environment() { set(was_set_ ? before_.c_str() : nullptr); }

 private:
  void set(const char* value) { value == nullptr ? ::unsetenv(name_) : ::setenv(name_, value, 1); }
  const char* name_;
  std::string before_;
  bool was_set_;
};

}  // namespace moe::test
