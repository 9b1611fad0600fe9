#include <cctype>
#include <moe/data/char_tokenizer.hpp>
#include <moe/io/checksum.hpp>
#include <moe_lab/text/generated_stories.hpp>
#include <set>
#include <vector>

#include "catch.hpp"

namespace {

const std::string separator = "\n<|endoftext|>\n";

std::vector<std::string> parts(const std::string& text, const std::string& after_each) {
  std::vector<std::string> all;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(after_each, begin)) != text.npos;) {
    all.push_back(text.substr(begin, end - begin));
    begin = end + after_each.size();
  }
  if (begin < text.size()) all.push_back(text.substr(begin));
  return all;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> all(1);
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c))) {
      all.back() += c;
    } else if (!all.back().empty()) {
      all.emplace_back();
    }
  }
  return all;
}

bool in(const lab::detail::WordList& list, const std::string& word) {
  for (int i = 0; i < list.size; ++i) {
    if (list[i] == word) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("generated_stories: one seed gives one text of whole stories", "[identity]") {
  const std::string text = lab::generated_stories(50000, 1);
  CHECK(text.size() >= 50000);
  CHECK(text.size() < 52000);
  CHECK(text.ends_with(separator));
  CHECK(lab::generated_stories(50000, 1) == text);
  CHECK(lab::generated_stories(50000, 2) != text);
  CHECK(lab::generated_stories(0, 1).empty());
  const std::string shorter = lab::generated_stories(777, 1);
  CHECK(shorter.size() >= 777);
  CHECK(shorter.ends_with(separator));
  CHECK(text.starts_with(shorter));
  // Every machine must make the same bits. Whoever changes the words must change this number.
  CHECK(moe::sha256(text) == "cd072c72a5acb385281539485c7091ce0abb1d95adec2a0254a356fe5d81b16b");
}

TEST_CASE("generated_stories: many words, no story twice, nothing left of the forms", "[io]") {
  const std::string text = lab::generated_stories(1'100'000, 1);
  for (const char c : text) {
    if (c != '\n' && (c < ' ' || c > '~')) FAIL("byte " << int(c) << " is not printable ASCII");
  }
  CHECK(moe::CharTokenizer(text).size() <= 65);
  const std::vector<std::string> list = words(text), stories = parts(text, separator);
  CHECK(std::set<std::string>(list.begin(), list.end()).size() > 650);
  CHECK(stories.size() > 1000);
  // No whole story of the validation part is one of the training part.
  CHECK(std::set<std::string>(stories.begin(), stories.end()).size() == stories.size());
  for (const std::string& story : stories) {
    INFO(story);
    const std::vector<std::string> paragraphs = parts(story, "\n\n");
    CHECK(paragraphs.size() >= 4);
    CHECK(paragraphs.size() <= 5);
    for (const std::string& paragraph : paragraphs) {
      CHECK(paragraph.size() > 7);
      CHECK(paragraph.size() < 600);
      const bool quoted = paragraph[0] == '"';
      CHECK(std::isupper(static_cast<unsigned char>(paragraph[quoted])));
      CHECK(std::string(".!?\"").find(paragraph.back()) != std::string::npos);
    }
    for (const char* left : {"%", "_", "[", "]", "|", "  ", " .", " a a", " a e", " an b"})
      CHECK(story.find(left) == std::string::npos);
  }
}

TEST_CASE("generated_stories: a story agrees with itself in names, pronouns and place", "[io]") {
  namespace list = lab::detail::story;
  for (const std::string& story : parts(lab::generated_stories(300'000, 3), separator)) {
    INFO(story);
    std::set<std::string> names, spots;
    for (const std::string& word : words(story)) {
      if (in(list::girls, word) || in(list::boys, word)) names.insert(word);
    }
    for (int i = 0; i < list::places.size; ++i) {
      const std::string place = lab::detail::spaced(list::places[i]);
      if (story.find(place.substr(place.find(' '))) != story.npos) spots.insert(place);
    }
    for (const std::string& name : names) {
      const std::string mine = in(list::girls, name) ? "girl" : "boy";
      const std::string other = mine == "girl" ? "boy" : "girl";
      CHECK(story.find(" " + other + " named " + name) == story.npos);
      CHECK(story.find(name + " was a " + other) == story.npos);
    }
    CHECK(names.size() == 2);
    CHECK(spots.size() == 1);
    // The hero is the one whom the first paragraph speaks of first.
    const std::string opening = story.substr(0, story.find("\n\n"));
    std::string hero;
    for (const std::string& word : words(opening)) {
      if (hero.empty() && names.count(word) > 0) hero = word;
    }
    const std::string wrong = in(list::girls, hero) ? "He" : "She";
    CHECK(opening.find(". " + wrong + " ") == opening.npos);
    CHECK(opening.find(in(list::girls, hero) ? ". His " : ". Her ") == opening.npos);
  }
}
