#pragma once
#include <charconv>
#include <concepts>
#include <moe/core/isa.hpp>
#include <optional>
#include <string_view>

namespace moe::inline MOE_ISA {

/// The whole number that `text` is, digit for digit; none when there is anything else in it or when
/// it does not fit the type.  Test: tests/core/parse.cpp.
///
///     const std::optional<int> steps = moe::whole_number(argv[2]);
template <std::integral Integer = int>
std::optional<Integer> whole_number(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace moe
