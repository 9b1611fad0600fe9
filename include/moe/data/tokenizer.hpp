#pragma once
#include <concepts>
#include <cstdint>
#include <moe/core/isa.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace moe::inline MOE_ISA {

/// Turns text into tokens and back, as ByteTokenizer, CharTokenizer and BpeTokenizer do.
template <class V>
concept Tokenizer = requires(const V& tokenizer, std::string_view text,
                             const std::vector<std::int32_t>& tokens) {
  { tokenizer.size() } -> std::convertible_to<int>;
  { tokenizer.encode(text) } -> std::convertible_to<std::vector<std::int32_t>>;
  { tokenizer.decode(tokens) } -> std::convertible_to<std::string>;
};

/// Each byte is one token.
struct ByteTokenizer {
  int size() const { return 256; }
  std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> tokens;
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string decode(const std::vector<std::int32_t>& tokens) const {
    std::string text;
    for (const std::int32_t token : tokens) text.push_back(char(token));
    return text;
  }
};

}  // namespace moe
