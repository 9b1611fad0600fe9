#pragma once
#include <stdlib.h>

#include <filesystem>
#include <moe/core/error.hpp>
#include <string>

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

/// What moe::Error says when f() throws it; "" when f() throws nothing.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// One sentence for a user: it starts with the library's name and says what to try.
inline bool is_sentence(const std::string& message) {
  return message.rfind("moe: ", 0) == 0 && has(message, "; ");
}

}  // namespace moe::test
