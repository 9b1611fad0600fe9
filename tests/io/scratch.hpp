#pragma once
#include <stdlib.h>

#include <filesystem>
#include <moe/core/error.hpp>
#include <string>

#include "messages.hpp"

namespace moe::test {

/// A fresh folder, removed at the end of the scope.
class ScratchFolder {
 public:
  ScratchFolder() : path_((std::filesystem::temp_directory_path() / "moe-test-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw Error("cannot make a folder for the test");
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace moe::test
