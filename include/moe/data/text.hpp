#pragma once
#include <cmath>
#include <concepts>
#include <moe/io/files.hpp>
#include <moe/io/utf8.hpp>

namespace moe {

/// A text file, whole.
/// Errors: missing, a folder, empty, or no text (a NUL byte, bytes that are not UTF-8).
/// Test: tests/data/text.cpp.
inline std::string load_text(const std::string& path) {
  std::string text = read_file(path);
  const auto fail = [&](const std::string& why) {
    throw Error("moe: cannot use '" + path + "' as text: " + why +
                "; give a plain text file in UTF-8");
  };
  if (text.empty()) fail("it is empty");
  if (const std::size_t at = text.find('\0'); at != std::string::npos) {
    fail("byte " + std::to_string(at) + " is NUL");
  }
  if (const std::size_t at = find_invalid_utf8(text); at != std::string::npos) {
    fail("byte " + std::to_string(at) + " is not UTF-8");
  }
  return text;
}

/// Two views of one text: the first part trains, the rest validates.
struct Split {
  std::string_view train, validation;
};

/// Cuts a text, before any window is cut from it: train = the first floor((1 - fraction) n) bytes
/// (moved back to the start of a character), validation = all that follows. The text must live on.
///
///     const moe::Split part = moe::split(text, 0.1);
///
/// Errors: a fraction outside of (0, 1), a part without text.  Test: tests/data/text.cpp.
inline Split split(std::string_view text, double validation_fraction = 0.1) {
  if (!(validation_fraction > 0 && validation_fraction < 1)) {
    throw Error("moe: cannot split the text: the validation fraction is " +
                std::to_string(validation_fraction) + "; give a number between 0 and 1");
  }
  // The tiny addend keeps 0.9 * 10 at 9 where rounding gives 8.999...
  const double wanted = (1 - validation_fraction) * static_cast<double>(text.size());
  std::size_t at = std::min(text.size(), static_cast<std::size_t>(std::floor(wanted + 1e-6)));
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  if (at == 0 || at == text.size()) {
    throw Error("moe: cannot split a text of " + std::to_string(text.size()) +
                " bytes: one part would be empty; give a longer text");
  }
  return {text.substr(0, at), text.substr(at)};
}

/// As split, with the cut moved back to the last end of a document, so that none lies in both
/// parts. A text without the separator, or with one document before the cut, is cut as by split.
///
///     const moe::Split part = moe::split_documents(text, "<|endoftext|>");
inline Split split_documents(std::string_view text, std::string_view separator,
                             double validation_fraction = 0.1) {
  const Split plain = split(text, validation_fraction);
  const std::size_t at = plain.train.rfind(separator);
  if (separator.empty() || at == std::string_view::npos) return plain;
  const std::size_t cut = at + separator.size();
  return {text.substr(0, cut), text.substr(cut)};
}

/// The views of a temporary text would dangle.
template <std::same_as<std::string> T>
Split split(T&&, double = 0.1) = delete;
template <std::same_as<std::string> T>
Split split_documents(T&&, std::string_view, double = 0.1) = delete;

}  // namespace moe
