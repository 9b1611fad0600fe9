#pragma once
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <moe/core/isa.hpp>
#include <string>

namespace moe::inline MOE_ISA::detail {

/// printf into a string.   Test: tests/core/format.cpp.
[[gnu::format(printf, 1, 2)]] inline std::string format(const char* form, ...) {
  std::va_list arguments, again;
  va_start(arguments, form);
  va_copy(again, arguments);
  std::string text(static_cast<std::size_t>(std::vsnprintf(nullptr, 0, form, arguments)), '\0');
  std::vsnprintf(text.data(), text.size() + 1, form, again);
  va_end(again);
  va_end(arguments);
  return text;
}

}  // namespace moe::detail
