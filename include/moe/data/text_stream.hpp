#pragma once
#include <moe/io/utf8.hpp>
#include <utility>

namespace moe::inline MOE_ISA {

/// Prints text that arrives in pieces, which may end inside a character: complete characters pass
/// on, and at most three bytes are held back. Bytes that cannot become UTF-8 pass unchanged.
///
///     moe::TextStream stream;
///     for (int token : tokens) print(stream.push(tokenizer.bytes_of(token)));
///     print(stream.finish());
///
/// Test: tests/data/text_stream.cpp.
class TextStream {
 public:
  /// Adds bytes and returns what can be printed now.
  std::string push(std::string_view bytes) {
    held_ += bytes;
    const std::size_t keep = incomplete(held_);
    std::string out = held_.substr(0, held_.size() - keep);
    held_.erase(0, out.size());
    return out;
  }
  /// Returns what was held back, complete or not.
  std::string finish() { return std::exchange(held_, {}); }

 private:
  /// The number of bytes at the end that begin a character which more bytes could complete.
  static std::size_t incomplete(std::string_view text) {
    for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
      const std::string_view tail = text.substr(text.size() - back);
      const auto first = static_cast<unsigned char>(tail[0]);
      if (first < 0x80) return 0;
      if (first < 0xC0) continue;  // a continuation byte
      const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
      if (first < 0xC2 || first > 0xF4 || back >= length) return 0;
      // The second byte of some characters has a narrower range (no overlong forms, no surrogates).
      std::string whole(tail);
      for (const char fill : {'\x80', '\xBF'}) {
        whole.resize(back);
        whole.resize(length, fill);
        std::size_t at = 0;
        if (next_code_point(whole, at) >= 0) return back;
      }
      return 0;
    }
    return 0;
  }

  std::string held_;
};

}  // namespace moe
