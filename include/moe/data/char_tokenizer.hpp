#pragma once
#include <algorithm>
#include <array>
#include <moe/io/json.hpp>

namespace moe::inline MOE_ISA {

/// The characters (Unicode code points) of a text, sorted. Token i is the i-th of them.
///
///     const moe::CharTokenizer vocabulary(text);
///     const auto tokens = vocabulary.encode("hear me speak");
///     vocabulary.decode(tokens);  // "hear me speak"
///
/// Errors: moe::Error for text that is not UTF-8, or a character or token outside of the
/// vocabulary.
/// Test: tests/data/char_tokenizer.cpp.
class CharTokenizer {
 public:
  CharTokenizer() : CharTokenizer(std::vector<std::int32_t>{}) {}
  explicit CharTokenizer(std::string_view text) : CharTokenizer(points_of(text)) {}

  int size() const { return static_cast<int>(points_.size()); }

  std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> tokens;
    tokens.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      const std::int32_t point = next_point(text, at), token = token_of(point);
      if (token < 0) {
        throw Error("cannot encode character '", text.substr(begin, at - begin), "' (code point ",
                    point, ") at byte ", begin, ": it is not among the ", size(),
                    " characters of the vocabulary; leave it out");
      }
      tokens.push_back(token);
    }
    return tokens;
  }

  /// The text of a range of tokens, of any integer type.
  template <class Tokens>
  std::string decode(const Tokens& tokens) const {
    std::string text;
    for (const auto token : tokens) append_token(text, static_cast<std::int64_t>(token));
    return text;
  }
  std::string decode(std::initializer_list<std::int32_t> tokens) const {
    return decode(std::vector<std::int32_t>(tokens));
  }

  bool contains(std::int32_t code_point) const { return token_of(code_point) >= 0; }

  /// A string of all characters, in the order of the tokens.
  Json to_json() const {
    std::string text;
    for (const std::int32_t point : points_) append_code_point(text, point);
    return text;
  }
  /// Errors: moe::Error if `json` is no string, or its characters are not sorted and unique.
  static CharTokenizer from_json(const Json& json, std::string_view what = "vocabulary") {
    const std::string& text = json.as_string(what);
    std::int32_t last = -1;
    for (std::size_t at = 0; at < text.size();) {
      const std::int32_t point = next_point(text, at);
      if (point <= std::exchange(last, point)) {
        throw Error("cannot use field '", what,
                    "': its characters are not sorted and unique; the file is damaged");
      }
    }
    return CharTokenizer(text);
  }

  bool operator==(const CharTokenizer& other) const { return points_ == other.points_; }

 private:
  explicit CharTokenizer(std::vector<std::int32_t> points) : points_(std::move(points)) {
    std::sort(points_.begin(), points_.end());
    points_.erase(std::unique(points_.begin(), points_.end()), points_.end());
    ascii_.fill(-1);
    for (std::size_t i = 0; i < points_.size() && points_[i] < 128; ++i) {
      ascii_[static_cast<std::size_t>(points_[i])] = static_cast<std::int32_t>(i);
    }
  }

  static std::int32_t next_point(std::string_view text, std::size_t& at) {
    const std::int32_t point = next_code_point(text, at);
    if (point >= 0) return point;
    throw Error("cannot read the text: byte ", at, " is not UTF-8; give plain text in UTF-8");
  }
  static std::vector<std::int32_t> points_of(std::string_view text) {
    std::array<bool, 128> seen{};
    std::vector<std::int32_t> points;
    for (std::size_t at = 0; at < text.size();) {
      const std::int32_t point = next_point(text, at);
      if (point < 128 && std::exchange(seen[static_cast<std::size_t>(point)], true)) continue;
      points.push_back(point);
    }
    return points;
  }

  std::int32_t token_of(std::int32_t point) const {
    if (point >= 0 && point < 128) return ascii_[static_cast<std::size_t>(point)];
    const auto found = std::lower_bound(points_.begin(), points_.end(), point);
    if (found == points_.end() || *found != point) return -1;
    return static_cast<std::int32_t>(found - points_.begin());
  }

  void append_token(std::string& text, std::int64_t token) const {
    if (token < 0 || token >= size()) {
      throw Error("cannot decode token ", token, ": the vocabulary has ", size(),
                  " characters; use the vocabulary of the model");
    }
    append_code_point(text, points_[static_cast<std::size_t>(token)]);
  }

  std::vector<std::int32_t> points_;
  std::array<std::int32_t, 128> ascii_{};
};

/// Checks that a model compiled for `model_vocab` tokens can hold `vocab_size`.
/// Errors: moe::Error that says what to compile instead.
inline void require_fits(int vocab_size, int model_vocab) {
  if (vocab_size <= model_vocab) return;
  throw Error("cannot train on this text: it has ", vocab_size,
              " distinct characters and this program was compiled for vocab ", model_vocab,
              "; rebuild with .vocab = ", vocab_size, " or use another text");
}

}  // namespace moe
