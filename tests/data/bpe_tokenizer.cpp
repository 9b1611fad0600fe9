#include <cstdlib>
#include <map>
#include <moe/data/bpe/bpe_tokenizer.hpp>
#include <moe/generate/generate.hpp>
#include <optional>
#include <thread>

#include "catch.hpp"
#include "data/tokenizer_files.hpp"
#include "skip.hpp"

using moe::BpeTokenizer;
using moe::SpecialTokens;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::random_text;
using moe::test::ScratchFolder;
using moe::test::TokenizerParts;

namespace {

using Ids = std::vector<std::int32_t>;

static_assert(moe::Tokenizer<BpeTokenizer>);

/// GPT-2's own vocabulary, or null if this machine lacks it.
const BpeTokenizer* gpt2() {
  static const std::optional<BpeTokenizer> tokenizer = []() -> std::optional<BpeTokenizer> {
    const char* data = std::getenv("MOE_DATA_DIR");
    const std::string folder = std::string(data == nullptr ? "" : data) + "/gpt2";
    if (data == nullptr || !moe::detail::exists(folder + "/vocab.json")) return std::nullopt;
    return BpeTokenizer::from_folder(folder);
  }();
  return tokenizer ? &*tokenizer : nullptr;
}

/// As gpt2(), for a case that is skipped without it.
const BpeTokenizer* gpt2_or_skip() {
  if (gpt2() == nullptr) moe::test::skip("MOE_DATA_DIR has no gpt2/vocab.json");
  return gpt2();
}

struct Case {
  const char* text;
  Ids ids;
};

/// The merges of a small vocabulary, learnt from a text by training BPE: again and again the most
/// frequent pair of neighbours is merged.
std::vector<std::string> learn_merges(const std::string& text, int count) {
  std::vector<std::string> parts, merges;
  for (const char c : text) parts.push_back(moe::detail::to_characters({&c, 1}));
  for (int i = 0; i < count; ++i) {
    std::map<std::pair<std::string, std::string>, int> pairs;
    for (std::size_t p = 0; p + 1 < parts.size(); ++p) ++pairs[{parts[p], parts[p + 1]}];
    auto best = pairs.begin();
    for (auto pair = pairs.begin(); pair != pairs.end(); ++pair)
      if (pair->second > best->second) best = pair;
    const auto [left, right] = best->first;
    merges.push_back(left + " " + right);
    std::vector<std::string> next;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const bool here = p + 1 < parts.size() && parts[p] == left && parts[p + 1] == right;
      next.push_back(here ? left + right : parts[p]);
      p += here;
    }
    parts = next;
  }
  return merges;
}

std::string letters(std::size_t count, std::uint32_t kinds, std::uint64_t seed) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i)
    text += static_cast<char>('a' + moe::philox(seed, 7, i)[0] % kinds);
  return text;
}

/// Encodes one piece as GPT-2's encoder.py: merges all occurrences of the best pair, then of the
/// next.
Ids naive(const BpeTokenizer& tokenizer, const std::vector<std::string>& merges,
          const std::string& piece) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.push_back(moe::detail::to_characters({&c, 1}));
  for (;;) {
    std::size_t best = merges.size();
    for (std::size_t p = 0; p + 1 < parts.size(); ++p) {
      const auto found = std::find(merges.begin(), merges.end(), parts[p] + " " + parts[p + 1]);
      best = std::min(best, static_cast<std::size_t>(found - merges.begin()));
    }
    if (best == merges.size()) break;
    std::vector<std::string> next;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const bool here = p + 1 < parts.size() && parts[p] + " " + parts[p + 1] == merges[best];
      next.push_back(here ? parts[p] + parts[p + 1] : parts[p]);
      p += here;
    }
    parts = next;
  }
  Ids ids;
  std::string bytes;
  for (const std::string& part : parts) {
    REQUIRE(moe::detail::to_bytes(part, bytes));
    ids.push_back(tokenizer.token_of(bytes));
  }
  return ids;
}

}  // namespace

TEST_CASE("BpeTokenizer: GPT-2's ids", "[external][shared]") {
  const BpeTokenizer* tokenizer = gpt2_or_skip();
  if (tokenizer == nullptr) return;
  const Case cases[] = {
      {"a  b", {64, 220, 275}},
      {"a   b", {64, 220, 220, 275}},
      {"a\n\nb", {64, 198, 198, 65}},
      {"a \n b", {64, 220, 198, 275}},
      {"a\n\n  b", {64, 628, 220, 275}},
      {"\n\n\n", {628, 198}},
      {"trailing ", {9535, 4386, 220}},
      {"trailing  ", {9535, 4386, 220, 220}},
      {"\ttab", {197, 8658}},
      {"a\r\nb", {64, 201, 198, 65}},
      {"    if x:\n\t\ty", {220, 220, 220, 611, 2124, 25, 198, 197, 197, 88}},
      {"I'm", {40, 1101}},
      {"I'M", {40, 6, 44}},
      {"I’m", {40, 447, 247, 76}},
      {"'tis", {470, 271}},
      {"''s", {7061, 82}},
      {"we'll've", {732, 1183, 1053}},
      {"x's's", {87, 338, 338}},
      {"1234", {1065, 2682}},
      {"12 34", {1065, 4974}},
      {"$1,000.00", {3, 16, 11, 830, 13, 405}},
      {"##", {2235}},
      {"# #", {2, 1303}},
      {"# $", {2, 720}},
      {"hello世界", {31373, 10310, 244, 45911, 234}},
      {"é", {2634}},
      {"e\xCC\x81", {68, 136, 223}},
      {"😀", {47249, 222}},
      {"½²", {23141, 31185}},
      {"Ⅷ", {158, 227, 100}},
      {"٣٤", {149, 96, 149, 97}},
      {"İ", {128, 108}},
      {"\xC2\xA0x", {1849, 87}},
      {"x\xE2\x80\x8By", {87, 9525, 88}},
      {"\xEF\xBB\xBFx", {171, 119, 123, 87}},
      {"!\xC2\x85!", {0, 126, 227, 0}},
      {"!\xE1\xA0\x8E!", {0, 157, 254, 236, 0}},
      {"a\xC2\x85\xC2\x85 b", {64, 126, 227, 126, 227, 275}},
      {"a\xE1\xA0\x8E\xE1\xA0\x8E b", {64, 157, 254, 236, 157, 254, 236, 275}},
      {"a \xE2\x80\x8B"
       "b",
       {64, 20126, 65}},
      {"a \xEF\xBB\xBF"
       "b",
       {64, 27332, 119, 123, 65}},
      {"!\x1c!", {0, 216, 0}},
      {"Hello, world!", {15496, 11, 995, 0}},
      {" SolidGoldMagikarp", {43453}},
      {"_foo_bar", {62, 21943, 62, 5657}},
      {"http://a.b/c?d=e&f", {4023, 1378, 64, 13, 65, 14, 66, 30, 67, 28, 68, 5, 69}},
      {"First Citizen:\nBefore we proceed any further, hear me speak.\n",
       {5962, 22307, 25, 198, 8421, 356, 5120, 597, 2252, 11, 3285, 502, 2740, 13, 198}},
      {"<|endoftext|>", {27, 91, 437, 1659, 5239, 91, 29}},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    CHECK(tokenizer->encode(c.text) == c.ids);
    CHECK(tokenizer->decode(c.ids) == c.text);
  }
  CHECK(tokenizer->encode(std::string("a\0b", 3)) == Ids{64, 188, 65});
  CHECK(tokenizer->vocab_size() == 50257);
  CHECK(tokenizer->end_of_text() == 50256);
  CHECK(tokenizer->token_of(" the") == 262);
  CHECK(tokenizer->bytes_of(262) == " the");
}

TEST_CASE("BpeTokenizer: the fixture's ids", "[external][shared]") {
  const char* folder = std::getenv("MOE_FIXTURE_DIR");
  const BpeTokenizer* tokenizer = gpt2_or_skip();
  if (tokenizer == nullptr) return;
  if (folder == nullptr || *folder == '\0') {
    return moe::test::skip("GPT-2's ids, MOE_FIXTURE_DIR is not set");
  }
  const std::string path = std::string(folder) + "/gpt2_bpe_cases.json";
  const moe::Json cases = moe::parse_json(moe::read_file(path), path);
  REQUIRE(cases.items(path).size() > 20);
  for (const moe::Json& c : cases.items(path)) {
    Ids ids;
    for (const moe::Json& id : c.at("ids").items("ids"))
      ids.push_back(static_cast<std::int32_t>(id.as_int("id")));
    const std::string& text = c.at("text").as_string("text");
    INFO(text);
    CHECK(tokenizer->encode(text) == ids);
    CHECK(tokenizer->decode(ids) == text);
  }
}

TEST_CASE("BpeTokenizer: decode gives back every byte string", "[identity]") {
  const auto round_trips = [](const BpeTokenizer& tokenizer, const std::string& text) {
    const Ids ids = tokenizer.encode(text);
    if (tokenizer.decode(ids) != text) return false;
    return tokenizer.decode(tokenizer.encode(text, SpecialTokens::as_tokens)) == text;
  };
  const BpeTokenizer bytes = BpeTokenizer::bytes();
  const BpeTokenizer* words = gpt2();
  for (std::uint64_t i = 0; i < 100000; ++i) {
    std::string text = random_text(3, i);
    // Every third string is of random bytes.
    if (i % 3 == 0)
      for (std::size_t at = 0; at < text.size(); ++at)
        text[at] = static_cast<char>(moe::philox(3, i, at + 100)[0]);
    INFO("text " << i);
    REQUIRE(round_trips(bytes, text));
    if (words != nullptr) REQUIRE(round_trips(*words, text));
  }
}

TEST_CASE("BpeTokenizer: without files a token is a byte, in GPT-2's order", "[external]") {
  const BpeTokenizer tokenizer = BpeTokenizer::bytes();
  CHECK(tokenizer.vocab_size() == 257);
  CHECK(tokenizer.end_of_text() == 256);
  CHECK(tokenizer.encode("!a ~\n") == Ids{0, 64, 220, 93, 198});
  CHECK(tokenizer.bytes_of(256) == "<|endoftext|>");
  if (const BpeTokenizer* words = gpt2())
    for (int id = 0; id < 256; ++id) CHECK(words->bytes_of(id) == tokenizer.bytes_of(id));
}

TEST_CASE("BpeTokenizer: the first merges are a smaller vocabulary of the same ids",
          "[external][shared]") {
  if (gpt2_or_skip() == nullptr) return;
  const std::string folder = std::string(std::getenv("MOE_DATA_DIR")) + "/gpt2";
  const BpeTokenizer all = *gpt2();
  const BpeTokenizer some = BpeTokenizer::from_folder(folder, {.merges = 3839});
  CHECK(some.vocab_size() == 4096);
  CHECK(some.end_of_text() == 4095);
  for (int id = 0; id < 4095; ++id) REQUIRE(some.bytes_of(id) == all.bytes_of(id));
  CHECK(some.encode(" upon a time there was") == all.encode(" upon a time there was"));
  CHECK(some.decode(some.encode(" SolidGoldMagikarp")) == " SolidGoldMagikarp");
  CHECK(some.encode("<|endoftext|>", SpecialTokens::as_tokens) == Ids{4095});
  CHECK(BpeTokenizer::from_folder(folder, {.merges = 0}).encode("the") == Ids{83, 71, 68});
  const std::string message =
      message_of([&] { BpeTokenizer::from_folder(folder, {.merges = 50001}); });
  CHECK(is_sentence(message));
  CHECK(has(message, "it has 50000"));
}

TEST_CASE("BpeTokenizer: first merges need GPT-2's order of ids", "[error]") {
  const ScratchFolder folder;
  TokenizerParts parts;
  parts.merges = {"a b", "ab c"};
  const auto load = [&](const std::string& vocabulary, int merges) {
    moe::write_file(folder / "vocab.json", vocabulary);
    moe::write_file(folder / "merges.txt", parts.merges_txt());
    return BpeTokenizer::from_folder(folder.path(), {.merges = merges});
  };
  CHECK(load(parts.vocabulary_json(), 1).encode("abc") == Ids{256, 66});
  std::string swapped = parts.vocabulary_json();
  swapped.replace(swapped.find("\"ab\":256"), 8, "\"ab\":257");
  swapped.replace(swapped.find("\"abc\":257"), 9, "\"abc\":256");
  CHECK(has(message_of([&] { load(swapped, 1); }), "not in the order of the merges"));
  swapped = parts.vocabulary_json();
  swapped.replace(swapped.find("\"a\":64"), 6, "\"a\":65");
  swapped.replace(swapped.find("\"b\":65"), 6, "\"b\":64");
  CHECK(has(message_of([&] { load(swapped, 1); }), "are not GPT-2's bytes"));
}

TEST_CASE("BpeTokenizer: merges as the definition does, in short and long pieces", "[identity]") {
  TokenizerParts parts;
  parts.merges = learn_merges(letters(3000, 3, 1), 120);
  const BpeTokenizer tokenizer = parts.load();
  for (std::uint64_t i = 0; i < 400; ++i) {
    const std::string piece = letters(1 + i % 150, i % 2 == 0 ? 3 : 4, 100 + i);
    INFO(piece);
    REQUIRE(tokenizer.encode(piece) == naive(tokenizer, parts.merges, piece));
  }
}

TEST_CASE("BpeTokenizer: the scan and the heap merge alike, whatever the ranks", "[identity]") {
  // Random merges, some of which come before the ones that make their parts.
  std::vector<moe::detail::Merge> merges;
  moe::detail::PairTable pairs;
  for (std::uint64_t i = 0; merges.size() < 200; ++i) {
    const moe::RandomWords r = moe::philox(11, 0, i);
    const auto part = [&](int word) { return static_cast<std::int32_t>(r[word] % 60); };
    if (pairs.insert(part(0), part(1), static_cast<std::int32_t>(merges.size())))
      merges.push_back({part(0), part(1), part(2)});
  }
  moe::detail::PieceMerger merger(pairs, merges);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    Ids scan(1 + i % 200);
    for (std::size_t j = 0; j < scan.size(); ++j)
      scan[j] = static_cast<std::int32_t>(moe::philox(12, i, j)[0] % 60);
    Ids heap = scan;
    scan.resize(merger.merge_by_scan(scan.data(), scan.size()));
    heap.resize(merger.merge_by_heap(heap.data(), heap.size()));
    REQUIRE(scan == heap);
  }
}

TEST_CASE("BpeTokenizer: a piece of a million bytes takes no quadratic time", "[edge]") {
  TokenizerParts parts;
  parts.merges = {"a a", "aa aa", "b a"};
  const BpeTokenizer tokenizer = parts.load();
  const std::string run(1'000'000, 'a');
  CHECK(tokenizer.encode(run) == Ids(250'000, 257));
  const std::string random = letters(1'000'000, 26, 5);
  CHECK(tokenizer.decode(tokenizer.encode(random)) == random);
  if (const BpeTokenizer* words = gpt2()) {
    CHECK(words->encode(run) == Ids(250'000, 24794));
    CHECK(words->decode(words->encode(random)) == random);
  }
}

TEST_CASE("BpeTokenizer: pieces that come again become the same tokens", "[identity][shared]") {
  const BpeTokenizer* words = gpt2_or_skip();
  if (words == nullptr) return;
  // Pieces around the 15 bytes of the short ones, more of them than the cache has places.
  std::vector<std::string> pieces;
  for (std::uint64_t i = 0; i < 3000; ++i) pieces.push_back(" " + letters(9 + i % 14, 26, i));
  std::string text;
  Ids expected;
  for (int round = 0; round < 3; ++round)
    for (const std::string& piece : pieces) {
      text += piece;
      const Ids ids = words->encode(piece);
      expected.insert(expected.end(), ids.begin(), ids.end());
    }
  CHECK(words->encode(text) == expected);
}

TEST_CASE("BpeTokenizer: threads share one tokenizer", "[determinism]") {
  TokenizerParts parts;
  parts.merges = learn_merges(letters(2000, 3, 2), 60);
  const BpeTokenizer tokenizer = parts.load();
  const std::string text = letters(20000, 4, 3) + " " + letters(3000, 3, 4);
  const Ids expected = tokenizer.encode(text);
  std::vector<Ids> got(4);
  std::vector<std::thread> threads;
  for (Ids& ids : got) threads.emplace_back([&] { ids = tokenizer.encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : got) CHECK(ids == expected);
}

TEST_CASE("BpeTokenizer: a token outside the vocabulary is an error", "[error]") {
  const BpeTokenizer tokenizer = BpeTokenizer::bytes();
  for (const std::int32_t token : {-1, 257, 50256}) {
    const std::string message = message_of([&] { tokenizer.decode({0, token}); });
    CHECK(is_sentence(message));
    CHECK(has(message, "token " + std::to_string(token) + ": the vocabulary has 257"));
  }
}

TEST_CASE("BpeTokenizer: what was saved gives the same ids", "[io]") {
  const ScratchFolder folder;
  std::vector<BpeTokenizer> all;
  all.push_back(BpeTokenizer::bytes());
  TokenizerParts parts;
  parts.merges = {"Ġ Ġ", "# #", "a b", "ab \"", "\\ \\", "1 2"};
  all.push_back(parts.load());
  parts.pre_tokenizer = moe::test::each_digit;
  parts.pairs = true;
  parts.more_tokens = {"hello"};
  parts.settings = R"("ignore_merges":true)";
  parts.added = R"([{"id":263,"content":"<|endoftext|>","special":true,"normalized":false},)"
                R"({"id":264,"content":"a b","special":false,"normalized":true},)"
                R"({"id":265,"content":"<|im_start|>","special":true,"normalized":false}])";
  all.push_back(parts.load());
  if (const BpeTokenizer* words = gpt2()) all.push_back(*words);
  for (const BpeTokenizer& tokenizer : all) {
    const std::string place = folder / ("out/" + std::to_string(&tokenizer - all.data()));
    tokenizer.save(place);
    tokenizer.save(place);
    const BpeTokenizer back = BpeTokenizer::from_folder(place);
    CHECK(back.fingerprint() == tokenizer.fingerprint());
    CHECK(back.vocab_size() == tokenizer.vocab_size());
    CHECK(back.end_of_text() == tokenizer.end_of_text());
    for (std::uint64_t i = 0; i < 2000; ++i) {
      const std::string text = random_text(4, i);
      REQUIRE(back.encode(text) == tokenizer.encode(text));
      REQUIRE(back.encode(text, SpecialTokens::as_tokens) ==
              tokenizer.encode(text, SpecialTokens::as_tokens));
    }
  }
  // The files of another tokenizer are not replaced, and nothing is written.
  const std::string theirs = folder / "out/1/tokenizer.json", before = moe::read_file(theirs);
  CHECK(is_sentence(message_of([&] { all[0].save(folder / "out/1"); })));
  CHECK(moe::read_file(theirs) == before);
  // If end of text is the only added token, vocab.json and merges.txt give the same tokenizer.
  all[1].save(folder / "files");
  const BpeTokenizer files =
      BpeTokenizer::from_files(folder / "files/vocab.json", folder / "files/merges.txt");
  CHECK(files.encode("## ab\"") == all[1].encode("## ab\""));
  CHECK(files.encode("<|endoftext|>", SpecialTokens::as_tokens) == Ids{files.end_of_text()});
  for (std::size_t i = 1; i < all.size(); ++i)
    CHECK(all[i].fingerprint() != all[i - 1].fingerprint());
}
