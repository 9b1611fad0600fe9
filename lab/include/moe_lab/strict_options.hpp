#pragma once
#include <CLI/CLI.hpp>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

// Reads numbers and names of a command line exactly as they are written, or refuses them.

namespace lab {

/// Why `text` is not a number of CLI11's type `type` (INT, UINT, FLOAT), or "".
inline std::string objection_to_number(std::string_view type, const std::string& text) {
  const bool whole = !type.starts_with("FLOAT");
  const std::string_view digits = std::string_view(text).substr(text.starts_with('-') ? 1 : 0);
  if (whole && (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos))
    return "it is not a whole number";
  if (whole && digits.size() > 1 && digits.front() == '0')  // CLI11 would read it as octal
    return "it begins with 0";
  errno = 0;
  char* end = nullptr;
  if (!whole) {
    if (text.find_first_of("xX") != text.npos) return "it is not a decimal number";
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') return "it is not a number";
    if (!std::isfinite(value)) return "it is not a finite number";
    return errno == ERANGE ? "it is too close to 0" : "";
  }
  if (type.starts_with("UINT")) {
    if (text.starts_with('-')) return "it must be 0 or more";
    std::strtoull(text.c_str(), &end, 10);
    return errno == ERANGE ? "it must be at most " + std::to_string(UINT64_MAX) : "";
  }
  std::strtoll(text.c_str(), &end, 10);
  return errno == ERANGE ? "it is too large" : "";
}

/// Makes every number of a command line be read as it is written, and refuses empty names: --data
/// "$TEXT" with an unset variable would otherwise mean the default. CLI11 alone reads -1 and all
/// numbers above 2^64 - 1 as the unsigned number 2^64 - 1, accepts nan in any range, and reads
/// 1e-400 as 0. Call it after all options are declared and before they are parsed.
inline void read_strictly(CLI::App& app) {
  for (CLI::Option* option : app.get_options([](CLI::Option*) { return true; })) {
    const std::string type = option->get_type_name();
    if (type.starts_with("TEXT")) {
      option->check(
          [&app](const std::string& text) -> std::string {
            if (text.empty()) return "it is empty; give a value, or leave the option out";
            if (text.starts_with("--") && app.get_option_no_throw(text))  // --out= --dry-run
              return "'" + text + "' is an option; give a value, or leave the option out";
            return "";
          },
          "");
      continue;
    }
    if (!type.starts_with("INT") && !type.starts_with("UINT") && !type.starts_with("FLOAT"))
      continue;
    option->check(
        [type](const std::string& text) {
          const std::string why = objection_to_number(type, text);
          return why.empty() ? why : "cannot use '" + text + "': " + why;
        },
        "");
  }
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; }))
    read_strictly(*command);
}

}  // namespace lab
