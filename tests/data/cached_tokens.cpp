#include <sys/stat.h>

#include <moe/data/cached_tokens.hpp>

#include "catch.hpp"
#include "data/tokenizer_files.hpp"

using moe::BpeTokenizer;
using moe::cached_tokens;
using moe::CachedTokens;
using moe::SpecialTokens;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;
using moe::test::TokenizerParts;

namespace {

std::size_t files_in(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

const std::string text = "abab ab\n<|endoftext|>no UTF-8: \xFF";

}  // namespace

TEST_CASE("cached_tokens: made once, kept, and read again", "[io]") {
  const ScratchFolder folder;
  const std::string path = folder / "text.txt";
  moe::write_file(path, text);
  const BpeTokenizer tokenizer = BpeTokenizer::bytes();
  const CachedTokens first = cached_tokens(path, tokenizer);
  CHECK(first.tokens.tokens() == tokenizer.encode(text));
  CHECK(has(first.source, "(made and kept)"));
  CHECK(has(first.source, path + "."));
  CHECK(files_in(folder.path()) == 2);
  const CachedTokens second = cached_tokens(path, tokenizer);
  CHECK(second.tokens.tokens() == tokenizer.encode(text));
  CHECK(has(second.source, "(cached)"));
  CHECK(files_in(folder.path()) == 2);
  const CachedTokens other = cached_tokens(path, tokenizer, SpecialTokens::as_text, folder / "a/b");
  CHECK(has(other.source, folder / "a/b/text.txt."));
  CHECK(other.tokens.tokens() == tokenizer.encode(text));
}

TEST_CASE("cached_tokens: another text, tokenizer or reading of specials is another file", "[io]") {
  const ScratchFolder folder;
  const std::string path = folder / "text.txt";
  const BpeTokenizer bytes = BpeTokenizer::bytes();
  TokenizerParts parts;
  parts.merges = {"a b"};
  const BpeTokenizer words = parts.load();
  moe::write_file(path, text);
  const auto check = [&](const BpeTokenizer& tokenizer, SpecialTokens special, const char* state) {
    const CachedTokens got = cached_tokens(path, tokenizer, special);
    CHECK(got.tokens.tokens() == tokenizer.encode(moe::read_file(path), special));
    CHECK(has(got.source, state));
  };
  check(bytes, SpecialTokens::as_text, "made");
  check(words, SpecialTokens::as_text, "made");
  check(bytes, SpecialTokens::as_tokens, "made");
  check(bytes, SpecialTokens::as_text, "(cached)");
  check(words, SpecialTokens::as_text, "(cached)");
  moe::write_file(path, text + "!");
  check(bytes, SpecialTokens::as_text, "made");
  moe::write_file(path, text);
  check(bytes, SpecialTokens::as_text, "(cached)");
}

TEST_CASE("cached_tokens: a damaged file is made anew", "[error]") {
  const ScratchFolder folder;
  const std::string path = folder / "text.txt";
  moe::write_file(path, text);
  const BpeTokenizer tokenizer = BpeTokenizer::bytes();
  const std::string source = cached_tokens(path, tokenizer).source;
  const std::string cache = source.substr(8, source.find(" (") - 8);
  const std::string good = moe::read_file(cache);
  std::string flipped = good;
  flipped[1030] = static_cast<char>(flipped[1030] ^ 1);
  for (const std::string& bad : {std::string(), good.substr(0, 1030), good + "x", flipped}) {
    moe::write_file(cache, bad);
    const CachedTokens again = cached_tokens(path, tokenizer);
    CHECK(has(again.source, "(made and kept)"));
    CHECK(again.tokens.tokens() == tokenizer.encode(text));
    CHECK(moe::read_file(cache) == good);
  }
}

TEST_CASE("cached_tokens: where nothing can be written it says so and works", "[error]") {
  const ScratchFolder folder;
  const std::string path = folder / "text.txt";
  moe::write_file(path, text);
  moe::write_file(folder / "file", "");
  const BpeTokenizer tokenizer = BpeTokenizer::bytes();
  // A file in the place of the folder stops root, too.
  const CachedTokens got =
      cached_tokens(path, tokenizer, SpecialTokens::as_text, folder / "file/cache");
  CHECK(got.tokens.tokens() == tokenizer.encode(text));
  CHECK(has(got.source, "and not kept: cannot"));
  CHECK(has(got.source, "file"));
  CHECK(is_sentence(message_of([&] { cached_tokens(folder / "none.txt", tokenizer); })));
}
