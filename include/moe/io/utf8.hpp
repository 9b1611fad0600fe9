#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moe/core/isa.hpp>
#include <string>
#include <string_view>

namespace moe::inline MOE_ISA {

/// The text without the byte order mark that some editors put at its beginning.
inline std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  return text.starts_with(mark) ? text.substr(mark.size()) : text;
}

/// Returns the code point that starts at text[at] and moves `at` behind it. Returns -1, with `at`
/// unchanged, if the bytes there are not well-formed UTF-8 (overlong, surrogate, above U+10FFFF,
/// truncated).
/// Source: Unicode 15, table 3-7.  Test: tests/io/utf8.cpp.
inline std::int32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(at);
  if (first < 0x80) return ++at, first;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() - at < length) return -1;
  std::int32_t point = first & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return -1;
    point = point << 6 | (byte(at + i) & 0x3F);
  }
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  if (overlong || (point >= 0xD800 && point <= 0xDFFF) || point > 0x10FFFF) return -1;
  at += length;
  return point;
}

/// Appends the UTF-8 bytes of a code point (a Unicode scalar value).
inline void append_code_point(std::string& out, std::int32_t point) {
  const auto put = [&](std::int32_t byte) { out.push_back(static_cast<char>(byte)); };
  const auto tail = [&](int shift) { put(0x80 | ((point >> shift) & 0x3F)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) return put(0xC0 | point >> 6), tail(0);
  if (point < 0x10000) return put(0xE0 | point >> 12), tail(6), tail(0);
  put(0xF0 | point >> 18), tail(12), tail(6), tail(0);
}

/// Text of a file in the form in which messages show it: the first 60 bytes, without control
/// characters.
inline std::string readable(std::string_view text) {
  constexpr std::size_t max_size = 60;
  std::size_t size = std::min(text.size(), max_size);
  if (size < text.size())  // do not split a character
    while (size > 0 && (static_cast<std::uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  std::string out(text.substr(0, size));
  for (char& c : out)
    if (static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F) c = '?';
  return size < text.size() ? out + "..." : out;
}
inline std::string in_quotes(std::string_view text) {
  return "'" + readable(text) + "'";
}

/// The position of the first byte that is not well-formed UTF-8, or std::string_view::npos.
inline std::size_t find_invalid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (next_code_point(text, at) < 0) return at;
  }
  return std::string_view::npos;
}

}  // namespace moe
