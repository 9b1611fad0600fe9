#pragma once
#include <moe/core/config.hpp>
#include <moe/core/enum_names.hpp>
#include <moe/tree/fields.hpp>
#include <string>
#include <string_view>
#include <type_traits>

namespace moe::inline MOE_ISA {
namespace detail {

/// A number, an enumerator, or an aggregate of them as C++ writes it; see to_cpp.
template <class T>
std::string cpp_text(const T& value, const std::string& before = "") {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::string(qualified_enum_names<T>[std::size_t(value)]);
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(value);
  } else {
    std::string text;
    const auto add = [&](std::string_view name, const auto& field, const auto& usual) {
      const std::string its = cpp_text(field);
      if (its == cpp_text(usual)) return;
      text += (text.empty()     ? before
               : before.empty() ? ", "
                                : "," + before) +
              "." + std::string(name) + " = " + its;
    };
    const T usual{};
    for_each_named_field(add, value, usual);
    return "{" + text + "}";
  }
}

}  // namespace detail

/// A configuration as the initialiser of a ModelConfig in C++: the fields that differ from their
/// defaults. `before` stands before every field of it: "\n    " gives each a line of its own.
/// Test: tests/model/config_text.cpp.
///
///     "constexpr moe::ModelConfig config" + moe::to_cpp(config) + ";"
///     // constexpr moe::ModelConfig config{.vocab = 65, .dim = 384, .moe = {.experts = 8}};
inline std::string to_cpp(const ModelConfig& config, const std::string& before = "") {
  return detail::cpp_text(config, before);
}

}  // namespace moe
