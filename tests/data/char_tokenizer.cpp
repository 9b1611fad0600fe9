#include <moe/data/char_tokenizer.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::CharTokenizer;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;

TEST_CASE("CharTokenizer: tokens are the sorted characters, and decode undoes encode",
          "[identity]") {
  const std::string text = "hello, w\xC3\xB6rld \xF0\x9F\x98\x80\n";
  const CharTokenizer vocabulary(text);
  CHECK(vocabulary.size() == 12);
  CHECK(vocabulary.encode("\n ,") == std::vector<std::int32_t>{0, 1, 2});
  CHECK(vocabulary.encode("\xF0\x9F\x98\x80\xC3\xB6") == std::vector<std::int32_t>{11, 10});
  CHECK(vocabulary.decode(vocabulary.encode(text)) == text);
  CHECK(vocabulary.decode({0, 1, 2}) == "\n ,");
  CHECK(vocabulary.contains('h'));
  CHECK(vocabulary.contains(0xF6));
  CHECK(!vocabulary.contains('z'));
  CHECK(!vocabulary.contains(0xF7));
  CHECK(vocabulary.encode("").empty());
  CHECK(CharTokenizer(text + text) == vocabulary);
  CHECK(CharTokenizer().size() == 0);
}

TEST_CASE("CharTokenizer: a character or token outside is named with its position", "[error]") {
  const CharTokenizer vocabulary("abc");
  CHECK(message_of([&] { vocabulary.encode("ab\xC3\xA9"); }) ==
        "moe: cannot encode character '\xC3\xA9' (code point 233) at byte 2: it is not among the 3 "
        "characters of the vocabulary; leave it out");
  CHECK(has(message_of([&] { vocabulary.encode("abz"); }), "'z'"));
  CHECK(has(message_of([&] { vocabulary.encode("a\xFF"); }), "byte 1 is not UTF-8"));
  CHECK(has(message_of([&] { CharTokenizer("a\xFF"); }), "byte 1 is not UTF-8"));
  for (const std::int32_t token : {-1, 3}) {
    const std::string message = message_of([&] { vocabulary.decode({0, token}); });
    CHECK(is_sentence(message));
    CHECK(has(message, "token " + std::to_string(token)));
  }
}

TEST_CASE("CharTokenizer: it survives JSON, and damaged JSON is an error", "[io]") {
  const CharTokenizer vocabulary("hello \"w\xC3\xB6rld\"\n\t");
  const std::string text = vocabulary.to_json().dump();
  CHECK(CharTokenizer::from_json(moe::parse_json(text)) == vocabulary);
  CHECK(has(message_of([] { CharTokenizer::from_json("ba", "manifest.vocabulary"); }),
            "'manifest.vocabulary': its characters are not sorted and unique"));
  CHECK(has(message_of([] { CharTokenizer::from_json("aab"); }), "not sorted and unique"));
  CHECK(has(message_of([] { CharTokenizer::from_json(3, "v"); }), "'v': it is an integer"));
}

TEST_CASE("require_fits: a vocabulary larger than the model's says what to compile", "[error]") {
  CHECK(message_of([] { moe::require_fits(65, 65); }).empty());
  CHECK(message_of([] { moe::require_fits(3, 65); }).empty());
  const std::string message = message_of([] { moe::require_fits(80, 65); });
  CHECK(is_sentence(message));
  CHECK(has(message, "80 distinct characters"));
  CHECK(has(message, "rebuild with .vocab = 80"));
}
