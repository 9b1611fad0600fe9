#include <map>
#include <moe/data/char_tokenizer.hpp>
#include <moe/io/checksum.hpp>
#include <moe_lab/text/generated_verse.hpp>
#include <set>

#include "catch.hpp"

TEST_CASE("generated_verse: one seed gives one text, whatever its length", "[identity]") {
  const std::string text = lab::generated_verse(50000, 1);
  CHECK(text.size() == 50000);
  CHECK(lab::generated_verse(50000, 1) == text);
  CHECK(lab::generated_verse(777, 1) == text.substr(0, 777));
  CHECK(lab::generated_verse(50000, 2) != text);
  CHECK(lab::generated_verse(0, 1).empty());
  // Every machine must make the same bits. Whoever changes the grammar must change this number.
  CHECK(moe::sha256(text) == "de9988900b19275e4c3fc4ce0a710c159d2d8d54887890f20198f9b2c375cbbd");
}

TEST_CASE("generated_verse: it reads like a play that there is something to learn from", "[io]") {
  const std::string text = lab::generated_verse(1100000, 1);
  for (const char c : text) {
    if (c != '\n' && (c < ' ' || c > '~')) FAIL("byte " << int(c) << " is not printable ASCII");
  }
  CHECK(moe::CharTokenizer(text).size() <= 65);  // fits programs made for Tiny Shakespeare
  std::map<std::string, int> words;
  std::set<std::string> speakers, lines;
  std::size_t begin = 0, count = 0, scenes = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    if (line.empty()) continue;
    CHECK(line.size() < 70);
    CHECK(line.find('%') == std::string::npos);
    CHECK(line.find('_') == std::string::npos);
    if (line.back() == ':' && line.find(' ') == std::string::npos) speakers.insert(line);
    scenes += line.rfind("SCENE ", 0) == 0;
    lines.insert(line);
    ++count;
    for (std::size_t at = 0; at < line.size();) {
      const std::size_t space = std::min(line.find(' ', at), line.size());
      ++words[line.substr(at, space - at)];
      at = space + 1;
    }
  }
  CHECK(speakers.size() == 20);
  CHECK(scenes > 200);
  CHECK(words.size() > 700);
  CHECK(lines.size() > count / 2);
}
