#pragma once
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <moe/core/isa.hpp>
#include <moe/core/strict_math.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace moe {

/// An error whose cause is outside the program: a file, data, memory, or a number given by the
/// user. The message is one sentence: what was attempted, with what, why it failed, what to try.
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

/// What is called when a caller breaks a contract, with the sentence that says which. It may throw;
/// if it returns, the program is aborted.
using ContractHandler = void (*)(const std::string& sentence);

namespace contract {

inline std::atomic<ContractHandler> handler{nullptr};

[[noreturn]] inline void failed(const char* condition, const char* file, int line,
                                const std::string& message) {
  const std::string sentence = "moe: " + message + " (" + condition + " is false, " + file + ":" +
                               std::to_string(line) + ")";
  if (const ContractHandler call = handler.load()) call(sentence);
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::abort();
}

}  // namespace contract

/// Sets what a broken contract calls, for all threads; null: the sentence is printed and the
/// program aborted. Gives the handler that was set before.  Test: tests/core/error.cpp.
///
///     // A server that must not die of one bad request:
///     moe::set_contract_handler([](const std::string& why) { throw std::logic_error(why); });
inline ContractHandler set_contract_handler(ContractHandler handler) {
  return contract::handler.exchange(handler);
}

/// The body of a main(): runs `body` and gives 0, or what it returns. If it throws moe::Error or
/// the standard output cannot be written, it prints the sentence to stderr and gives 1.
///
///     int main() {
///       return moe::report_errors([] { train(); });
///     }
template <class Body>
int report_errors(const Body& body) {
  try {
    int code = 0;
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
    } else {
      code = body();
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw Error(
          "cannot write the output: not all of it reached stdout; make room or give another place, "
          "and run it again");
    return code;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace moe

/// Aborts the program, or calls the contract handler, if the caller broke a contract. Always on:
/// contracts are checked once per call on the host, never per element. `message` is a std::string
/// expression that names the numbers; it is evaluated only on failure.
#define MOE_EXPECTS(condition, message) \
  ((condition) ? void() : ::moe::contract::failed(#condition, __FILE__, __LINE__, message))
