#include <moe/data/text_stream.hpp>

#include "catch.hpp"
#include "data/tokenizer_files.hpp"

using moe::TextStream;
using moe::test::random_text;

TEST_CASE("TextStream: a character is held back until it is complete", "[io]") {
  TextStream stream;
  CHECK(stream.push("a\xF0") == "a");
  CHECK(stream.push("\x9F") == "");
  CHECK(stream.push("\x98") == "");
  CHECK(stream.push("\x80!") == "😀!");
  CHECK(stream.push("\xE4\xB8") == "");
  CHECK(stream.finish() == "\xE4\xB8");
  CHECK(stream.finish() == "");
}

TEST_CASE("TextStream: bytes that no more bytes can complete pass at once", "[edge]") {
  for (const char* bytes : {"\x80", "\xBF\xBF", "\xC0", "\xC1", "\xF5", "\xFF", "\xE0\x80",
                            "\xED\xA0", "\xF0\x80", "\xF4\x90", "\xC3(", "\xE2\x82\xAC"}) {
    TextStream stream;
    INFO(bytes);
    CHECK(stream.push(bytes) == bytes);
  }
  for (const char* bytes : {"\xC2", "\xDF", "\xE0", "\xE0\xA0", "\xED\x9F", "\xEF", "\xF0\x90",
                            "\xF4\x8F", "\xF4\x8F\xBF"}) {
    TextStream stream;
    INFO(bytes);
    CHECK(stream.push(bytes) == "");
  }
}

TEST_CASE("TextStream: nothing is lost, and what is well-formed is never cut", "[identity]") {
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const std::string text = random_text(2, i);
    TextStream stream;
    std::string out;
    bool whole = true;
    for (const char c : text) {
      const std::string part = stream.push({&c, 1});
      whole &= moe::find_invalid_utf8(part) == std::string::npos;
      out += part;
    }
    out += stream.finish();
    REQUIRE(out == text);
    if (moe::find_invalid_utf8(text) == std::string::npos) REQUIRE(whole);
  }
}
