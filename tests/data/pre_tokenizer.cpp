#include <moe/data/bpe/pre_tokenizer.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "data/tokenizer_files.hpp"

using moe::char_class;
using moe::CharClass;
using moe::PreTokenizer;
using moe::test::random_text;

namespace {

using Pieces = std::vector<std::string>;

Pieces pieces(std::string_view text, PreTokenizer kind = PreTokenizer::gpt2) {
  Pieces out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = moe::next_piece(text, at, kind);
    REQUIRE(end > at);
    REQUIRE(end <= text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

struct Symbol {
  std::string bytes;
  CharClass kind;
};

std::vector<Symbol> symbols(std::string_view text) {
  std::vector<Symbol> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const std::int32_t point = moe::next_code_point(text, at);
    if (point < 0) ++at;
    const CharClass kind = point < 0 ? CharClass::other : char_class(point);
    out.push_back({std::string(text.substr(begin, at - begin)), kind});
  }
  return out;
}

/// Applies the regular expression of the docstring of next_piece, alternative by alternative, as a
/// backtracking engine does.
Pieces by_expression(const std::vector<Symbol>& s) {
  Pieces out;
  for (std::size_t at = 0; at < s.size();) {
    const auto run = [&](std::size_t from, CharClass kind) {
      std::size_t end = from;
      while (end < s.size() && s[end].kind == kind) ++end;
      return end;
    };
    const auto match = [&]() -> std::size_t {
      for (const std::string word : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
        std::string here;
        for (std::size_t i = at; i < s.size() && here.size() < word.size(); ++i) here += s[i].bytes;
        if (here == word) return at + word.size();
      }
      for (const CharClass kind : {CharClass::letter, CharClass::number, CharClass::other}) {
        const bool space = s[at].bytes == " ";
        if (space && run(at + 1, kind) > at + 1) return run(at + 1, kind);
        if (run(at, kind) > at) return run(at, kind);
      }
      std::size_t end = run(at, CharClass::space);
      for (std::size_t back = end; back > at; --back)  // \s+(?!\S)
        if (back == s.size() || s[back].kind == CharClass::space) return back;
      return end;
    };
    const std::size_t end = match();
    std::string piece;
    for (; at < end; ++at) piece += s[at].bytes;
    out.push_back(piece);
  }
  return out;
}

/// Cuts every digit off first, then applies the expression to the parts between them.
Pieces by_expression_each_digit(const std::vector<Symbol>& s) {
  Pieces out;
  std::vector<Symbol> part;
  const auto close = [&] {
    for (const std::string& piece : by_expression(part)) out.push_back(piece);
    part.clear();
  };
  for (const Symbol& symbol : s) {
    if (symbol.kind != CharClass::number) {
      part.push_back(symbol);
      continue;
    }
    close();
    out.push_back(symbol.bytes);
  }
  close();
  return out;
}

}  // namespace

TEST_CASE("char_class: letters, numbers and white space are those of Unicode 15", "[external]") {
  int letters = 0, numbers = 0, spaces = 0;
  for (std::int32_t point = 0; point < 0x110000; ++point) {
    letters += char_class(point) == CharClass::letter;
    numbers += char_class(point) == CharClass::number;
    spaces += char_class(point) == CharClass::space;
  }
  CHECK(letters == 136104);  // DerivedGeneralCategory-15.0.0.txt: Lu, Ll, Lt, Lm, Lo
  CHECK(numbers == 1831);    // Nd, Nl, No
  CHECK(spaces == 25);       // PropList-15.0.0.txt: White_Space
  for (const std::int32_t point : {0x09, 0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2028,
                                   0x2029, 0x202F, 0x205F, 0x3000})
    CHECK(char_class(point) == CharClass::space);
  for (const std::int32_t point : {0x00, 0x08, 0x0E, 0x1C, 0x1F, 0x180E, 0x200B, 0x2060, 0xFEFF,
                                   0x301, 0x1F600, 0xE000, 0x10FFFF})
    CHECK(char_class(point) == CharClass::other);
  for (const std::int32_t point :
       {0x41, 0x7A, 0xAA, 0x130, 0x1C5, 0x4E00, 0x9FFF, 0x20000, 0x323AF})
    CHECK(char_class(point) == CharClass::letter);
  for (const std::int32_t point : {0x30, 0x39, 0xB2, 0xBD, 0x663, 0x2167, 0x3007, 0x1FBF9})
    CHECK(char_class(point) == CharClass::number);
}

TEST_CASE("next_piece: the pieces of GPT-2", "[external]") {
  CHECK(pieces("a  b") == Pieces{"a", " ", " b"});
  CHECK(pieces("a\n\n  b") == Pieces{"a", "\n\n ", " b"});
  CHECK(pieces("trailing  ") == Pieces{"trailing", "  "});
  CHECK(pieces("\ttab") == Pieces{"\t", "tab"});
  CHECK(pieces("we'll've I'M") == Pieces{"we", "'ll", "'ve", " I", "'", "M"});
  CHECK(pieces("''s 's") == Pieces{"''", "s", " '", "s"});
  CHECK(pieces("$1,000.00") == Pieces{"$", "1", ",", "000", ".", "00"});
  CHECK(pieces("abcdefghijklmnopqrstuvwxyz{ABCDEFGHIJKLMNOPQRSTUVWXYZ[z@`") ==
        Pieces{"abcdefghijklmnopqrstuvwxyz", "{", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "[", "z", "@`"});
  CHECK(pieces("naïveté world") == Pieces{"naïveté", " world"});
  CHECK(pieces("x\xFF\xFEy") == Pieces{"x", "\xFF\xFE", "y"});
  CHECK(pieces(" \xC3!") == Pieces{" \xC3!"});
  CHECK(pieces("").empty());
}

TEST_CASE("next_piece: with each digit alone, the text around a number is cut for itself",
          "[external]") {
  const PreTokenizer kind = PreTokenizer::gpt2_each_digit;
  CHECK(pieces(" 12", kind) == Pieces{" ", "1", "2"});
  CHECK(pieces("x  1", kind) == Pieces{"x", "  ", "1"});
  CHECK(pieces("x\n 1 y", kind) == Pieces{"x", "\n ", "1", " y"});
  CHECK(pieces("v2.5's", kind) == Pieces{"v", "2", ".", "5", "'s"});
  CHECK(pieces("½²Ⅷ", kind) == Pieces{"½", "²", "Ⅷ"});
}

TEST_CASE("next_piece: equals its expression on random text", "[identity]") {
  for (std::uint64_t i = 0; i < 30000; ++i) {
    const std::string text = random_text(1, i);
    INFO("text " << i);
    REQUIRE(pieces(text) == by_expression(symbols(text)));
    REQUIRE(pieces(text, PreTokenizer::gpt2_each_digit) == by_expression_each_digit(symbols(text)));
  }
}

TEST_CASE("next_piece: runs end where they should at every length", "[edge]") {
  for (const std::string unit : {"a", "Z", "1", "!", "\n", " ", "é", "½"})
    for (std::size_t length = 1; length < 40; ++length)
      for (const std::string after : {"", "b", "2", "?", "\t", "世"}) {
        std::string text;
        for (std::size_t i = 0; i < length; ++i) text += unit;
        text += after;
        REQUIRE(pieces(text) == by_expression(symbols(text)));
      }
}
