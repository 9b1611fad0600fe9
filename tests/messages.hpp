#pragma once
#include <moe/core/error.hpp>
#include <stdexcept>
#include <string>

namespace moe::test {

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

/// While it lives, a broken contract throws an exception.
struct Throwing {
  ContractHandler before =
      set_contract_handler([](const std::string& why) { throw std::logic_error(why); });
  ~Throwing() { set_contract_handler(before); }
};

/// What a broken contract says.
template <class F>
std::string broken_contract(const F& f) {
  const Throwing handler;
  try {
    f();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "";
}

}  // namespace moe::test
