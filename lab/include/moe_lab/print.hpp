#pragma once
#include <cstdarg>
#include <cstdio>
#include <string>

namespace lab {

/// printf into a string of at most 299 characters.
[[gnu::format(printf, 1, 2)]] inline std::string print(const char* format, ...) {
  char text[300];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

}  // namespace lab
