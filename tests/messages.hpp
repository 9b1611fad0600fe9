#pragma once
#include <moe/core/error.hpp>
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

}  // namespace moe::test
