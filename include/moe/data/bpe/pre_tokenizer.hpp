#pragma once
#include <array>
#include <bit>
#include <cstring>
#include <moe/data/bpe/unicode_classes.hpp>
#include <moe/io/utf8.hpp>

namespace moe::inline MOE_ISA {

/// How a text is divided into pieces before byte pairs are merged.
enum class PreTokenizer {
  gpt2,             // GPT-2's expression: see next_piece
  gpt2_each_digit,  // every number character is a piece (SmolLM); the expression in between
};

namespace detail {

/// The class and number of bytes of a character. A byte that starts no well-formed UTF-8 is a
/// character by itself, of class `other`.
struct Character {
  CharClass kind;
  std::uint32_t bytes;
};

inline constexpr auto ascii_classes = [] {
  std::array<CharClass, 128> table{};
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = char_class(static_cast<std::int32_t>(i));
  return table;
}();

inline Character character_at(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 128) return {ascii_classes[first], 1};
  std::size_t end = at;
  const std::int32_t point = next_code_point(text, end);
  if (point < 0) return {CharClass::other, 1};
  return {char_class(point), static_cast<std::uint32_t>(end - at)};
}

/// The number of ASCII letters before the first other byte of `word`, whose lowest byte comes
/// first.
inline std::size_t leading_letters(std::uint64_t word) {
  constexpr std::uint64_t ones = 0x0101010101010101, high = 0x80 * ones;
  const std::uint64_t lower = (word | 0x20 * ones) & ~high;
  const std::uint64_t from_a = lower + (0x80 - 'a') * ones;
  const std::uint64_t above_z = lower + (0x80 - 'z' - 1) * ones;
  const std::uint64_t letters = from_a & ~above_z & ~word & high;
  return static_cast<std::size_t>(std::countr_zero(~letters & high)) / 8;
}

/// The end of the run of characters of one class that begins at `at`.
inline std::size_t end_of_run(std::string_view text, std::size_t at, CharClass kind) {
  static_assert(std::endian::native == std::endian::little);
  while (at < text.size()) {
    if (kind == CharClass::letter && text.size() - at >= 8) {
      std::uint64_t word;
      std::memcpy(&word, text.data() + at, 8);
      const std::size_t letters = leading_letters(word);
      at += letters;
      if (letters == 8) continue;
    }
    const Character c = character_at(text, at);
    if (c.kind != kind) break;
    at += c.bytes;
  }
  return at;
}

/// The length of 's 't 'm 'd 're 've 'll at the apostrophe text[at], or 0 if there is none.
inline std::size_t contraction(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? text[at + i] : '\0'; };
  const char a = byte(1), b = byte(2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

}  // namespace detail

/// The end of the piece that begins at `at`, where the previous piece ended. Pieces are the matches
/// of GPT-2's expression, which cover every text:
///     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// A run of white space that is followed by something else leaves its last character out. If that
/// is a space, it belongs to the following piece. Bytes that are not UTF-8 count as neither space,
/// letter nor number.
/// Source: openai/gpt-2 encoder.py; Unicode 15.0.  Test: tests/data/pre_tokenizer.cpp.
inline std::size_t next_piece(std::string_view text, std::size_t at,
                              PreTokenizer kind = PreTokenizer::gpt2) {
  const bool each_digit = kind == PreTokenizer::gpt2_each_digit;
  if (text[at] == '\'') {
    if (const std::size_t length = detail::contraction(text, at); length > 0) return at + length;
  }
  std::size_t begin = at;
  detail::Character c = detail::character_at(text, at);
  if (text[at] == ' ' && at + 1 < text.size()) {
    const detail::Character after = detail::character_at(text, at + 1);
    // A single number character takes no space, so the space is a piece by itself.
    if (after.kind == CharClass::number && each_digit) return at + 1;
    if (after.kind != CharClass::space) c = after, begin = at + 1;
  }
  if (c.kind == CharClass::number && each_digit) return begin + c.bytes;
  if (c.kind != CharClass::space) return detail::end_of_run(text, begin + c.bytes, c.kind);

  std::size_t end = at, last = at;
  while (end < text.size() && c.kind == CharClass::space) {
    last = end;
    end += c.bytes;
    if (end < text.size()) c = detail::character_at(text, end);
  }
  const bool whole = end == text.size() || (c.kind == CharClass::number && each_digit);
  return whole || last == at ? end : last;
}

}  // namespace moe
