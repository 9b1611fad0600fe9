#pragma once
#include <moe/core/error.hpp>
#include <string>
#include <string_view>

namespace moe {

/// An enumerator and its name on the command line and in JSON.
template <class E>
struct Choice {
  E value;
  const char* name;
};

/// The enumerator whose name is `text`. `what` names the option in the error message.
/// Errors: moe::Error that lists the choices.  Test: tests/optim/schedule.cpp.
///
///     auto kind = moe::choose("schedule", "cosine", moe::schedule_kinds);
template <class E, std::size_t N>
E choose(const char* what, std::string_view text, const Choice<E> (&choices)[N]) {
  std::string list;
  for (const Choice<E>& c : choices) {
    if (text == c.name) return c.value;
    list += (list.empty() ? "" : ", ") + std::string(c.name);
  }
  throw Error("moe: cannot use '" + std::string(text) + "' as " + what +
              ": it is not a known name; choose one of " + list);
}

/// The name of `value`, or an empty string if the table does not list it.
template <class E, std::size_t N>
std::string_view name_of(E value, const Choice<E> (&choices)[N]) {
  for (const Choice<E>& c : choices)
    if (c.value == value) return c.name;
  return {};
}

}  // namespace moe
