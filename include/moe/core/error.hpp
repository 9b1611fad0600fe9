#pragma once
#include <cstdio>
#include <cstdlib>
#include <moe/core/strict_math.hpp>
#include <stdexcept>
#include <string>

namespace moe {

/// What went wrong outside the program (file, data, memory, numbers given by the user).
/// One sentence: what was attempted, with what, why it failed, what to try.
///
///     throw moe::Error("moe: cannot read 'a.txt': no such file; check the path");
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
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
