#pragma once
#include <cstddef>
#include <cstdint>
#include <moe/core/random.hpp>
#include <string>
#include <string_view>

namespace lab::detail {

/// Words separated by single spaces; '_' stands for a space inside an entry.
struct WordList {
  std::string_view words;
  int size;
  constexpr WordList(const char* all) : words(all), size(1) {
    for (const char c : words) size += c == ' ';
  }
  constexpr std::string_view operator[](int index) const {
    std::size_t begin = 0;
    for (; index > 0; --index) begin = words.find(' ', begin) + 1;
    return words.substr(begin, words.find(' ', begin) - begin);
  }
};

inline std::string spaced(std::string_view entry) {
  std::string out(entry);
  for (char& c : out) c = c == '_' ? ' ' : c;
  return out;
}

inline std::string upper_first(std::string word) {
  if (word[0] >= 'a' && word[0] <= 'z') word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word;
}

/// Draws words from lists. Each kind of text has its own stream of random numbers.
class WordPicker {
 public:
  WordPicker(std::uint64_t seed, std::uint32_t kind)
      : seed_(seed), stream_(moe::stream(0, kind, moe::RandomStream::text)) {}

  /// Uniform in [0, bound): the next number of the seed's stream.
  int pick(int bound) {
    const std::uint64_t bits = moe::philox(seed_, stream_, drawn_++)[0];
    return static_cast<int>(bits * static_cast<std::uint64_t>(bound) >> 32);
  }
  std::string words(const WordList& list) { return spaced(list[pick(list.size)]); }

 private:
  std::uint64_t seed_, stream_, drawn_ = 0;
};

}  // namespace lab::detail
