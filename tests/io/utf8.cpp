#include <moe/io/utf8.hpp>

#include "catch.hpp"

using namespace std::string_literals;

TEST_CASE("UTF-8: every code point survives append and next", "[identity]") {
  for (std::int32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    std::string text;
    moe::append_code_point(text, point);
    std::size_t at = 0;
    const std::int32_t got = moe::next_code_point(text, at);
    if (got != point || at != text.size()) FAIL("code point " << point << " came back as " << got);
  }
  std::string text;
  moe::append_code_point(text, 0x20AC);
  CHECK(text == "\xE2\x82\xAC");
}

TEST_CASE("UTF-8: malformed bytes are found where they are", "[edge]") {
  const std::string bad[] = {
      "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xC3",
      "\xE0\x80\x80", "\xE2\x82",         "\xED\xA0\x80",     "\xF0\x80\x80\x80",
      "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
      "\xE2\x28\xA1"};
  for (const std::string& bytes : bad) {
    CHECK(moe::find_invalid_utf8("ok" + bytes) == 2);
    CHECK(moe::find_invalid_utf8("\xC3\xA9" + bytes + "more") == 2);
  }
  CHECK(moe::find_invalid_utf8("") == std::string_view::npos);
  CHECK(moe::find_invalid_utf8("a\0\xF0\x9F\x98\x80"s) == std::string_view::npos);
}

TEST_CASE("in_quotes: 60 bytes at most, whole characters, no control characters", "[edge]") {
  using moe::in_quotes;
  CHECK(in_quotes("a.weight") == "'a.weight'");
  CHECK(in_quotes("") == "''");
  CHECK(in_quotes(std::string("a\n\0\x1b\x7f", 5)) == "'a\?\?\?\?'");
  // `as` letters a and the rest, in quotes.
  const auto quoted = [](std::size_t as, const char* rest) {
    std::string text(1, '\'');
    text.append(as, 'a').append(rest);
    return text;
  };
  CHECK(in_quotes(std::string(60, 'a')) == quoted(60, "'"));
  CHECK(in_quotes(std::string(61, 'a')) == quoted(60, "...'"));
  CHECK(in_quotes(std::string(59, 'a').append("\xE4\xB8\x96")) == quoted(59, "...'"));
}
