#pragma once
#include <atomic>
#include <charconv>
#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <moe/core/isa.hpp>
#include <moe/core/strict_math.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace moe {

/// A piece of a message: text, or a number, which it writes in decimal.
class MessagePart {
 public:
  MessagePart(std::string_view text) : text_(text) {}
  MessagePart(const std::string& text) : text_(text) {}
  MessagePart(const char* text) : text_(text) {}
  template <class T>
  requires((std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>) ||
           std::floating_point<T>) MessagePart(T number)
      : text_(digits_, std::to_chars(digits_, digits_ + sizeof digits_, number).ptr) {}
  template <std::same_as<char> T>
  MessagePart(T character) : digits_{character}, text_(digits_, 1) {}
  MessagePart(const MessagePart&) = delete;
  std::string_view text() const { return text_; }

 private:
  char digits_[32];
  std::string_view text_;
};

/// The parts as one text. Not inlined, so that a message costs the code around it little.
[[gnu::noinline, gnu::cold]] inline std::string concat(std::initializer_list<MessagePart> parts) {
  std::string all;
  for (const MessagePart& part : parts) all += part.text();
  return all;
}

/// An error whose cause is outside the program: a file, data, memory, or a number given by the
/// user. The message is one sentence: what was attempted, with what, why it failed, what to try.
///
///     throw moe::Error("cannot read '", path, "' of ", size, " bytes: ", why, "; check the path");
struct Error : std::runtime_error {
  /// what() is "moe: " and the parts of the sentence.
  template <std::convertible_to<MessagePart>... Parts>
  requires(sizeof...(Parts) > 0) explicit Error(const Parts&... parts)
      : std::runtime_error(concat({prefix, parts...})) {}
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

[[noreturn, gnu::noinline, gnu::cold]] inline void failed(
    const char* condition, const char* file, int line, std::initializer_list<MessagePart> parts) {
  const std::string sentence =
      concat({"moe: ", concat(parts), " (", condition, " is false, ", file, ":", line, ")"});
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
/// contracts are checked once per call on the host, never per element. After the condition come the
/// parts of a message that names the numbers; they are evaluated only on failure.
///
///     MOE_EXPECTS(index < count, "batch ", index, " of ", count, " asked");
#define MOE_EXPECTS(condition, ...) \
  ((condition) ? void() : ::moe::contract::failed(#condition, __FILE__, __LINE__, {__VA_ARGS__}))
