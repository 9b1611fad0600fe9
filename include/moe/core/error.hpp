#pragma once
#include <cstdio>
#include <cstdlib>
#include <moe/core/strict_math.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace moe {

/// What went wrong outside the program (file, data, memory, numbers given by the user).
/// One sentence: what was attempted, with what, why it failed, what to try.
///
///     throw moe::Error("cannot read 'a.txt': no such file; check the path");
struct Error : std::runtime_error {
  /// what() is "moe: " and the sentence.
  explicit Error(const std::string& sentence)
      : std::runtime_error(std::string(prefix) + sentence) {}
  /// what() without "moe: ", for use inside another sentence.
  std::string sentence() const { return std::string(what()).substr(prefix.size()); }

 private:
  static constexpr std::string_view prefix = "moe: ";
};

namespace detail {
[[noreturn]] inline void contract_failed(const char* condition, const char* file, int line,
                                         const std::string& message) {
  std::fprintf(stderr, "moe: %s (%s is false, %s:%d)\n", message.c_str(), condition, file, line);
  std::abort();
}
}  // namespace detail

}  // namespace moe

/// Stops the program when the caller broke a contract. Always on: the checks are made once per
/// call on the host, never per element. `message` is a std::string expression that names the
/// numbers; it is evaluated on failure only.
#define MOE_EXPECTS(condition, message) \
  ((condition) ? void() : ::moe::detail::contract_failed(#condition, __FILE__, __LINE__, message))
