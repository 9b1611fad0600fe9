#pragma once
#include <array>
#include <cstddef>
#include <moe/core/error.hpp>
#include <moe/core/isa.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

// The names of enumerators, taken from the source, for command lines, JSON and messages. No list of
// names is written beside an enumeration.

namespace moe::inline MOE_ISA {
namespace detail {

/// The last word of a text: in the compiler's spelling of an enumerator or of the address of a
/// field its name; `qualified`: with the namespaces before it.
constexpr std::string_view last_identifier(std::string_view text, bool qualified = false) {
  const auto word = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (qualified && c == ':');
  };
  std::size_t end = text.size();
  while (end > 0 && !word(text[end - 1])) --end;
  std::size_t begin = end;
  while (begin > 0 && word(text[begin - 1])) --begin;
  return text.substr(begin, end - begin);
}

template <auto Value>
constexpr auto enumerator_spelling() {
  return std::string_view(__PRETTY_FUNCTION__);
}
template <class E, std::size_t I>
inline constexpr std::string_view enumerator =
    last_identifier(enumerator_spelling<static_cast<E>(I)>(), true);

/// The number of enumerators from number I on. The compiler spells a value without an enumerator as
/// a number.
template <class E, std::size_t I = 0>
consteval std::size_t count_enumerators() {
  if constexpr (enumerator<E, I>[0] >= '0' && enumerator<E, I>[0] <= '9') {
    return I;
  } else {
    return count_enumerators<E, I + 1>();
  }
}

}  // namespace detail

/// The names of the enumerators of E, whose values are 0, 1, 2, ...
/// Test: tests/core/enum_names.cpp.
///
///     for (const std::string_view name : moe::enum_names<moe::Norm>) ...  // "layer", "rms"
template <class E>
inline constexpr auto enum_names = []<std::size_t... I>(std::index_sequence<I...>) {
  return std::array<std::string_view, sizeof...(I)>{
      detail::last_identifier(detail::enumerator<E, I>)...};
}
(std::make_index_sequence<detail::count_enumerators<E>()>{});

/// The same as a program outside of all namespaces writes them:  "moe::Norm::layer".
template <class E>
inline constexpr auto qualified_enum_names = []<std::size_t... I>(std::index_sequence<I...>) {
  return std::array<std::string_view, sizeof...(I)>{detail::enumerator<E, I>...};
}
(std::make_index_sequence<detail::count_enumerators<E>()>{});

/// The name of a value:  moe::enum_name(moe::Norm::rms) == "rms".  Empty if it has none.
template <class E>
constexpr std::string_view enum_name(E value) {
  const auto at = static_cast<std::size_t>(value);
  return at < enum_names<E>.size() ? enum_names<E>[at] : std::string_view();
}

/// The enumerator named `name`, if there is one.
template <class E>
constexpr std::optional<E> find_enum(std::string_view name) {
  for (std::size_t i = 0; i < enum_names<E>.size(); ++i)
    if (enum_names<E>[i] == name) return static_cast<E>(i);
  return {};
}

/// The enumerator whose name is `text`. `what` names the option in the error message.
/// Errors: moe::Error that lists the choices.  Test: tests/optim/schedule.cpp.
///
///     const auto kind = moe::parse_enum<moe::ScheduleKind>("--schedule", "cosine");
template <class E>
E parse_enum(const char* what, std::string_view text) {
  if (const std::optional<E> value = find_enum<E>(text)) return *value;
  std::string list;
  for (const std::string_view name : enum_names<E>)
    list += (list.empty() ? "" : ", ") + std::string(name);
  throw Error("cannot use '", text, "' as ", what, ": it is not a known name; choose one of ",
              list);
}

}  // namespace moe
