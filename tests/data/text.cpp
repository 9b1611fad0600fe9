#include <moe/data/text.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

TEST_CASE("load_text: text comes back, anything else is an error that says why", "[error]") {
  const ScratchFolder folder;
  const auto load = [&](const std::string& bytes) {
    moe::write_file(folder / "a.txt", bytes);
    return message_of([&] { moe::load_text(folder / "a.txt"); });
  };
  CHECK(load("caf\xC3\xA9\n").empty());
  CHECK(moe::load_text(folder / "a.txt") == "caf\xC3\xA9\n");
  CHECK(load("") == "moe: cannot use '" + (folder / "a.txt") +
                        "' as text: it is empty; give a plain text file in UTF-8");
  CHECK(has(load(std::string("ab\0c", 4)), "byte 2 is NUL"));
  CHECK(has(load("abc\xFF"), "byte 3 is not UTF-8"));
  const std::string missing = message_of([&] { moe::load_text(folder / "none.txt"); });
  CHECK(is_sentence(missing));
  CHECK(has(missing, "none.txt': No such file or directory"));
  CHECK(has(message_of([&] { moe::load_text(folder.path()); }), "Is a directory"));
}

TEST_CASE("split: train is the first floor(0.9 n) bytes, validation the rest", "[identity]") {
  for (const std::size_t n : {10u, 11u, 19u, 100u, 12345u, 1115394u}) {
    const std::string text(n, 'x');
    const moe::Split part = moe::split(text);
    CHECK(part.train.size() == n * 9 / 10);
    CHECK(part.train.size() + part.validation.size() == n);
    CHECK(part.train.data() == text.data());
    CHECK(part.validation.data() == text.data() + part.train.size());
  }
  CHECK(moe::split("abcd", 0.5).validation == "cd");
  CHECK(moe::split("abcd", 0.25).train == "abc");
}

TEST_CASE("split_documents: the cut lies between two documents", "[identity]") {
  const std::string text = "one|two|three|fourfive|six|";
  for (const double fraction : {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}) {
    const moe::Split part = moe::split_documents(text, "|", fraction);
    CHECK(part.train.ends_with('|'));
    CHECK(std::string(part.train) + std::string(part.validation) == text);
    CHECK(part.train.size() <= moe::split(text, fraction).train.size());
  }
  CHECK(moe::split_documents(text, "|", 0.3).train == "one|two|three|");
  // Without a separator before the cut it cuts as split() does.
  CHECK(moe::split_documents(text, "#", 0.3).train == moe::split(text, 0.3).train);
  CHECK(moe::split_documents("abcdefgh|ij|", "|", 0.5).train == "abcdef");
  // Here the cut of split() would fall into a separator.
  CHECK(moe::split_documents("aa##bbbb##cc", "##", 0.25).train == "aa##");
}

TEST_CASE("split: a character is never cut", "[edge]") {
  std::string text;
  for (int i = 0; i < 10; ++i) text += "\xE2\x82\xAC";  // 30 bytes
  for (int i = 1; i < 28; ++i) {
    const moe::Split part = moe::split(text, 1 - (i + 2) / 30.0);
    CHECK(part.train.size() % 3 == 0);
    CHECK(std::string(part.train) + std::string(part.validation) == text);
  }
}

TEST_CASE("split: a part without text and a wrong fraction are errors", "[error]") {
  for (const double fraction : {0.0, 1.0, -0.1, 1.5, std::nan("")}) {
    const std::string message = message_of([&] { moe::split("some text", fraction); });
    CHECK(is_sentence(message));
    CHECK(has(message, "fraction"));
  }
  for (const std::string_view text : {"", "a"}) {
    CHECK(has(message_of([&] { moe::split(text); }), "one part would be empty"));
    CHECK(has(message_of([&] { moe::split(text, 0.1, "the text 'a.txt'"); }), "the text 'a.txt'"));
  }
  CHECK(message_of([] { moe::split("ab"); }).empty());
}

TEST_CASE("require_parts: names the whole text, its parts and what would be enough", "[text]") {
  CHECK(message_of([] { moe::require_parts(900, 100, 64, 64); }).empty());
  const std::string message =
      message_of([] { moe::require_parts(900, 100, 128, 128, "'a.txt'", "characters"); });
  CHECK(is_sentence(message));
  for (const char* part : {"'a.txt'", "1000 characters", "900", "100", "128", "1290"})
    CHECK(has(message, part));
  CHECK(message_of([] { moe::require_parts(1161, 129, 128, 128); }).empty());  // those 1290
  CHECK(has(message_of([] { moe::require_parts(50, 50, 64, 16); }), "130 tokens"));
}
