#pragma once
#include <array>
#include <moe/io/utf8.hpp>

namespace moe::inline MOE_ISA::detail {

/// The printable character that represents each byte in vocabulary files: the bytes 33 to 126, 161
/// to 172 and 174 to 255 represent themselves, the others are U+0100 and following.
/// Source: openai/gpt-2 encoder.py, bytes_to_unicode.
inline constexpr auto character_of_byte = [] {
  std::array<std::int32_t, 256> table{};
  std::int32_t next = 256;
  for (std::int32_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    table[static_cast<std::size_t>(byte)] = itself ? byte : next++;
  }
  return table;
}();

/// The bytes in the order of GPT-2's tokens 0 to 255: sorted by their characters, bytes that
/// represent themselves first.
inline constexpr auto bytes_by_character = [] {
  std::array<unsigned char, 256> order{};
  std::size_t next = 0;
  for (const bool itself : {true, false})
    for (std::size_t byte = 0; byte < 256; ++byte)
      if ((character_of_byte[byte] < 256) == itself)
        order[next++] = static_cast<unsigned char>(byte);
  return order;
}();

inline std::string to_characters(std::string_view bytes) {
  std::string text;
  for (const char c : bytes)
    append_code_point(text, character_of_byte[static_cast<unsigned char>(c)]);
  return text;
}

/// Converts characters back to bytes. Returns false if a character represents no byte.
inline bool to_bytes(std::string_view text, std::string& bytes) {
  static constexpr auto byte_of = [] {
    std::array<std::int16_t, 256 + 68> table{};
    for (auto& byte : table) byte = -1;
    for (std::size_t byte = 0; byte < 256; ++byte)
      table[static_cast<std::size_t>(character_of_byte[byte])] = static_cast<std::int16_t>(byte);
    return table;
  }();
  bytes.clear();
  bytes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::int32_t point = next_code_point(text, at);
    if (point < 0 || point >= static_cast<std::int32_t>(byte_of.size())) return false;
    const std::int16_t byte = byte_of[static_cast<std::size_t>(point)];
    if (byte < 0) return false;
    bytes.push_back(static_cast<char>(byte));
  }
  return true;
}

}  // namespace moe::detail
