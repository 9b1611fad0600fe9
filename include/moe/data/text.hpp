#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <moe/io/input.hpp>
#include <moe/io/utf8.hpp>

namespace moe::inline MOE_ISA {

/// Reads a whole text from a file, a pipe or "-" (standard input), once.
/// Errors: moe::Error if the input is missing, a folder, empty, or not text (a NUL byte, bytes that
/// are not UTF-8).
/// Test: tests/data/text.cpp.
inline std::string load_text(const std::string& path) {
  std::string text = read_input(path);
  const auto fail = [&](const std::string& why) {
    throw Error("cannot use ", input_name(path), " as text: ", why,
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

/// Two views of one text: the first part for training, the rest for validation.
struct Split {
  std::string_view train, validation;
};

/// Splits a text before windows are taken from it. train = the first floor((1 - fraction) n) bytes,
/// moved back to the start of a character; validation = the rest. The result refers to the text,
/// which must outlive it.
///
///     const moe::Split part = moe::split(text, 0.1);
///
/// `name`: how messages call the text.
/// Errors: moe::Error for a fraction outside of (0, 1), or if a part would be empty.  Test:
/// tests/data/text.cpp.
inline Split split(std::string_view text, double validation_fraction = 0.1,
                   const std::string& name = "a text") {
  if (!(validation_fraction > 0 && validation_fraction < 1)) {
    throw Error("cannot split the text: the validation fraction is ", validation_fraction,
                "; give a number between 0 and 1");
  }
  // The small addend makes 0.9 * 10 give 9 where rounding yields 8.999...
  const double wanted = (1 - validation_fraction) * static_cast<double>(text.size());
  std::size_t at = std::min(text.size(), static_cast<std::size_t>(std::floor(wanted + 1e-6)));
  while (at > 0 && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  if (at == 0 || at == text.size()) {
    throw Error("cannot split ", name, " of ", text.size(),
                " bytes: one part would be empty; give a longer text");
  }
  return {text.substr(0, at), text.substr(at)};
}

/// Like split, with the cut moved back to the last end of a document, so that no document is in
/// both parts. If the text before the cut contains no separator, the cut is that of split.
///
///     const moe::Split part = moe::split_documents(text, "<|endoftext|>");
inline Split split_documents(std::string_view text, std::string_view separator,
                             double validation_fraction = 0.1, const std::string& name = "a text") {
  const Split plain = split(text, validation_fraction, name);
  const std::size_t at = plain.train.rfind(separator);
  if (separator.empty() || at == std::string_view::npos) return plain;
  const std::size_t cut = at + separator.size();
  return {text.substr(0, cut), text.substr(cut)};
}

/// Checks that both parts of a text are long enough for windows of `length` tokens (for validation
/// `eval_length`), which need one token more. `name` and `unit` are what messages call the text and
/// a token.
/// Errors: moe::Error with the sizes of the text and its parts, and the size that would suffice.
/// Test: tests/data/text.cpp.
inline void require_parts(std::size_t train, std::size_t validation, int length, int eval_length,
                          const std::string& name = "this text",
                          const std::string& unit = "tokens") {
  const auto min_train = std::size_t(length) + 1, min_validation = std::size_t(eval_length) + 1;
  if (train >= min_train && validation >= min_validation) return;
  const double all = double(std::max<std::size_t>(1, train + validation));
  const auto enough = [&](std::size_t part, std::size_t min_size) {
    return std::ceil(double(min_size) * all / double(std::max<std::size_t>(1, part)));
  };
  const double min_size = std::max(enough(train, min_train), enough(validation, min_validation));
  const auto count = [](auto n) { return std::to_string(std::uint64_t(n)); };
  throw Error("cannot train on ", name, ": of its ", count(train + validation), " ", unit, " ",
              count(train), " are to train on and ", count(validation),
              " to validate, and windows of ", length,
              (length == eval_length ? std::string() : " and " + std::to_string(eval_length)),
              " need one more than that in each part; give a text of ", count(min_size), " ", unit,
              " or more");
}

/// Deleted, because the views of a temporary text would dangle.
template <std::same_as<std::string> T>
Split split(T&&, double = 0.1, const std::string& = "") = delete;
template <std::same_as<std::string> T>
Split split_documents(T&&, std::string_view, double = 0.1, const std::string& = "") = delete;

}  // namespace moe
