#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "catch.hpp"
#include "data/tokenizer_files.hpp"
#include "skip.hpp"

using moe::BpeTokenizer;
using moe::SpecialTokens;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;
using moe::test::TokenizerParts;

namespace {

using Ids = std::vector<std::int32_t>;

// Bytes in use, and their maximum since most_in_use was set.
std::atomic<std::size_t> in_use{0}, most_in_use{0};

[[maybe_unused]] void* counted(void* memory) {  // not with a sanitizer
  if (memory == nullptr) throw std::bad_alloc();
  const std::size_t now = in_use += ::malloc_usable_size(memory);
  std::size_t most = most_in_use;
  while (now > most && !most_in_use.compare_exchange_weak(most, now)) continue;
  return memory;
}

}  // namespace

#if !MOE_SANITIZED  // a sanitizer has its own operator new
[[gnu::noinline]] void* operator new(std::size_t size) {
  return counted(std::malloc(size));
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return ::operator new(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  in_use -= ::malloc_usable_size(memory);
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  ::operator delete(memory);
}
#endif

namespace {

/// The error of loading this tokenizer.json, or "".
std::string refusal(const std::string& json) {
  const ScratchFolder folder;
  moe::write_file(folder / "tokenizer.json", json);
  const std::string message = message_of([&] { BpeTokenizer::from_folder(folder.path()); });
  INFO(message);
  if (!message.empty()) CHECK(is_sentence(message));
  return message;
}
std::string refusal(const TokenizerParts& parts) {
  return refusal(parts.json());
}
/// The error of loading these two files, or "".
std::string refusal(const std::string& vocabulary, const std::string& merges) {
  const ScratchFolder folder;
  moe::write_file(folder / "vocab.json", vocabulary);
  moe::write_file(folder / "merges.txt", merges);
  const std::string message = message_of([&] { BpeTokenizer::from_folder(folder.path()); });
  INFO(message);
  if (!message.empty()) CHECK(is_sentence(message));
  return message;
}

TokenizerParts with(auto change) {
  TokenizerParts parts;
  parts.merges = {"a b", "ab c"};
  change(parts);
  return parts;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("tokenizer.json: merges as strings and as pairs give the same tokenizer", "[io]") {
  const BpeTokenizer strings = with([](TokenizerParts&) {}).load();
  const BpeTokenizer pairs = with([](TokenizerParts& p) { p.pairs = true; }).load();
  CHECK(strings.fingerprint() == pairs.fingerprint());
  CHECK(pairs.encode("abcab") == Ids{257, 256});
}

TEST_CASE("tokenizer.json: comes before vocab.json and merges.txt", "[io]") {
  const ScratchFolder folder;
  const TokenizerParts parts = with([](TokenizerParts&) {});
  moe::write_file(folder / "vocab.json", parts.vocabulary_json());
  moe::write_file(folder / "merges.txt", parts.merges_txt());
  CHECK(BpeTokenizer::from_folder(folder.path()).encode("abc") == Ids{257});
  moe::write_file(folder / "tokenizer.json", TokenizerParts().json());
  CHECK(BpeTokenizer::from_folder(folder.path()).encode("abc") == Ids{64, 65, 66});
}

TEST_CASE("tokenizer.json: SmolLM's digits stand alone and take no space", "[external]") {
  // As Hugging Face tokenizers 0.23 encodes with this file.
  const BpeTokenizer tokenizer = with([](TokenizerParts& p) {
                                   p.pre_tokenizer = moe::test::each_digit;
                                   p.merges = {"Ġ x", "1 2", "Ġ 1"};
                                 }).load();
  CHECK(tokenizer.encode(" 12") == Ids{220, 16, 17});
  CHECK(tokenizer.encode("x  1") == Ids{87, 220, 220, 16});
  CHECK(tokenizer.encode("x  x") == Ids{87, 220, 256});
  CHECK(tokenizer.encode("12 x1 x") == Ids{16, 17, 256, 16, 256});
  CHECK(tokenizer.encode("½²") == Ids{126, 121, 126, 110});
  const BpeTokenizer spaces = with([](TokenizerParts& p) {
                                p.pre_tokenizer = moe::test::each_digit;
                                p.merges = {"Ġ Ġ"};
                              }).load();
  CHECK(spaces.encode("x  1") == Ids{87, 256, 16});
}

TEST_CASE("tokenizer.json: added tokens are found before the text is cut", "[external]") {
  // As Hugging Face tokenizers 0.23 encodes with this file.
  const BpeTokenizer tokenizer =
      with([](TokenizerParts& p) {
        p.merges = {"x y"};
        p.added = R"([{"id":257,"content":"<|endoftext|>","special":true,"normalized":false},)"
                  R"({"id":258,"content":"<|im_start|>","special":true,"normalized":false},)"
                  R"({"id":259,"content":"ab","special":false,"normalized":true},)"
                  R"({"id":260,"content":"abs","special":false,"normalized":false},)"
                  R"({"id":261,"content":"  X","special":false,"normalized":false},)"
                  R"({"id":262,"content":"  XY","special":false}])";
      }).load();
  const auto encode = [&](const std::string& text) {
    return tokenizer.encode(text, SpecialTokens::as_tokens);
  };
  CHECK(tokenizer.vocab_size() == 263);
  CHECK(tokenizer.end_of_text() == 257);
  CHECK(tokenizer.token_of("<|im_start|>") == 258);
  CHECK(encode("a<|im_start|>a") == Ids{64, 258, 64});
  CHECK(encode("<|endoftext|><|endoftext|>") == Ids{257, 257});
  CHECK(encode("abs ab aab") == Ids{260, 220, 259, 220, 64, 259});
  CHECK(encode("a  X") == Ids{64, 261});
  CHECK(encode("a  XY  X") == Ids{64, 262, 261});
  // White space before a token is the end of a text.
  CHECK(encode("a  <|im_start|>") == Ids{64, 220, 220, 258});
  CHECK(tokenizer.decode({260, 220, 261}) == "abs   X");
  // Special tokens are text unless they are allowed; the others are always found.
  CHECK(tokenizer.encode("<|im_start|>") == TokenizerParts().load().encode("<|im_start|>"));
  CHECK(tokenizer.encode("abs") == Ids{260});
}

TEST_CASE("tokenizer.json: with ignore_merges a piece that is a token is taken whole",
          "[external]") {
  const auto change = [](TokenizerParts& p) { p.more_tokens = {"hello", "a!"}; };
  CHECK(with(change).load().encode("hello") == Ids{71, 68, 75, 75, 78});
  const BpeTokenizer tokenizer = with([&](TokenizerParts& p) {
                                   change(p);
                                   p.settings = R"("ignore_merges":true)";
                                 }).load();
  CHECK(tokenizer.encode("hello") == Ids{258});
  CHECK(tokenizer.encode("hellos") == Ids{71, 68, 75, 75, 78, 82});
  CHECK(tokenizer.encode("a!") == Ids{64, 0});  // no piece
}

TEST_CASE("tokenizer.json: harmless settings are accepted", "[io]") {
  for (const char* settings :
       {R"("dropout":null)", R"("dropout":0.0)", R"("unk_token":"")", R"("fuse_unk":true)",
        R"("continuing_subword_prefix":"","end_of_word_suffix":null)",
        R"("byte_fallback":false,"ignore_merges":false)"})
    CHECK(refusal(with([&](TokenizerParts& p) { p.settings = settings; })) == "");
  for (const char* fields :
       {R"("normalizer":null)", R"("truncation":null,"padding":null)",
        R"("truncation":{"max_length":8},"padding":{})",
        R"("normalizer":{"type":"Sequence","normalizers":[]})",
        R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Sequence","normalizers":[]}]})",
        R"("post_processor":{"type":"Sequence","processors":[]})",
        R"("post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A",)"
        R"("type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":)"
        R"({"id":"</s>","type_id":0}}],"special_tokens":{}})",
        R"("post_processor":{"type":"ByteLevel","trim_offsets":false})", R"("extra":[1,{"a":2}])"})
    CHECK(refusal(with([&](TokenizerParts& p) { p.fields = fields; })) == "");
  CHECK(refusal(replaced(with([](TokenizerParts&) {}).json(), R"("type":"BPE",)", "")) == "");
}

TEST_CASE("tokenizer.json: what would change ids is refused", "[error]") {
  const auto setting = [](const std::string& settings) {
    return refusal(with([&](TokenizerParts& p) { p.settings = settings; }));
  };
  CHECK(has(setting(R"("dropout":0.1)"), "'dropout'"));
  CHECK(has(setting(R"("byte_fallback":true)"), "'byte_fallback' is true"));
  CHECK(has(setting(R"("end_of_word_suffix":"</w>")"), "'end_of_word_suffix' is not empty"));
  CHECK(has(setting(R"("continuing_subword_prefix":"##")"), "'continuing_subword_prefix'"));
  CHECK(has(setting(R"("ignore_merges":1)"), "true or false"));
  const auto field = [](const std::string& fields) {
    return refusal(with([&](TokenizerParts& p) { p.fields = fields; }));
  };
  CHECK(has(field(R"("normalizer":{"type":"NFC"})"), "'normalizer' is not null"));
  CHECK(has(field(R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Lowercase"}]})"),
            "'Lowercase' changes the text"));
  CHECK(has(field(R"("post_processor":{"type":"TemplateProcessing"})"), "TemplateProcessing"));
  CHECK(has(field(R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":)"
                  R"({"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]})"),
            "adds token '<s>'"));
  CHECK(has(field(R"("post_processor":{"type":"Sequence","processors":[{"type":)"
                  R"("BertProcessing"}]})"),
            "BertProcessing"));
  const auto pre_tokenizer = [](const std::string& json) {
    return refusal(with([&](TokenizerParts& p) { p.pre_tokenizer = json; }));
  };
  CHECK(has(pre_tokenizer("null"), "is not 'ByteLevel'"));
  CHECK(has(pre_tokenizer(R"({"type":"Split","pattern":{"Regex":"x"}})"), "'Split'"));
  CHECK(has(pre_tokenizer(R"({"type":"Metaspace"})"), "'Metaspace'"));
  CHECK(has(pre_tokenizer(R"({"type":"ByteLevel"})"), "'add_prefix_space' is true"));
  CHECK(has(pre_tokenizer(R"({"type":"ByteLevel","add_prefix_space":true})"), "add_prefix_space"));
  CHECK(has(pre_tokenizer(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})"),
            "'use_regex' is false"));
  CHECK(has(pre_tokenizer(replaced(moe::test::each_digit, "\"individual_digits\":true",
                                   "\"individual_digits\":false")),
            "'individual_digits' is false"));
  CHECK(has(pre_tokenizer(R"({"type":"Sequence","pretokenizers":[{"type":"Digits"}]})"),
            "is not 'ByteLevel'"));
  const auto added = [](const std::string& token) {
    return refusal(with([&](TokenizerParts& p) { p.added = "[" + token + "]"; }));
  };
  CHECK(has(added(R"({"id":259,"content":"<x>","lstrip":true})"), "'lstrip' is true"));
  CHECK(has(added(R"({"id":259,"content":"<x>","single_word":true})"), "'single_word' is true"));
  CHECK(has(added(R"({"id":259})"), "needs 'id' and 'content'"));
  CHECK(has(added(R"({"id":65796,"content":"<x>"})"), "id 65796 where 260 tokens"));
  CHECK(has(added(R"({"id":7,"content":"<x>"})"), "id 7 is given to two tokens"));
  CHECK(has(added(R"({"id":7,"content":"ab"})"), "another id"));
  CHECK(has(added(R"({"id":259,"content":"<x>"},{"id":260,"content":"<x>"})"),
            "'<x>' is there twice"));
  CHECK(has(added(R"({"id":256,"content":"ab"},{"id":256,"content":"ab"})"), "there twice"));
}

TEST_CASE("tokenizer.json: another model, missing and repeated parts are refused", "[error]") {
  const std::string good = with([](TokenizerParts&) {}).json();
  REQUIRE(refusal(good) == "");
  CHECK(has(refusal(replaced(good, R"("BPE")", R"("Unigram")")), "'Unigram', not 'BPE'"));
  CHECK(has(refusal("{}"), "no field 'model'"));
  CHECK(has(refusal("[]"), "an object is expected"));
  CHECK(has(refusal(""), "as JSON"));
  CHECK(has(refusal(R"({"model":{"vocab":{}}})"), "'vocab' and 'merges'"));
  CHECK(has(refusal(R"({"model":{"vocab":{},"merges":[]}})"), "no field 'pre_tokenizer'"));
  CHECK(has(refusal(replaced(good, R"("merges":[)", R"("vocab":{},"merges":[)")), "there twice"));
  CHECK(has(refusal(replaced(good, R"("model")", R"("model":{},"model")")), "there twice"));
  CHECK(has(refusal(replaced(good, R"("a b")", R"(["a"])")), "merge of two parts"));
  CHECK(has(refusal(replaced(good, R"("a b")", R"(["a","b","c"])")), "merge of two parts"));
  CHECK(has(refusal(replaced(good, R"("a b")", "7")), "as JSON"));
}

TEST_CASE("vocab.json and merges.txt: every damage is an error that names it", "[error]") {
  const TokenizerParts parts = with([](TokenizerParts&) {});
  const std::string vocabulary = parts.vocabulary_json(), merges = parts.merges_txt();
  const auto damaged = [&](const std::string& from, const std::string& to) {
    return refusal(replaced(vocabulary, from, to), merges);
  };
  REQUIRE(refusal(vocabulary, merges) == "");
  CHECK(has(damaged(R"("ab":256)", R"("ab":255)"), "id 255 is given to two tokens"));
  CHECK(has(damaged(R"("ab":256)", R"("ab":65795)"), "id 65795 where 259 tokens"));
  CHECK(has(damaged(R"("ab":256)", R"("ab":-1)"), "the id of a token"));
  CHECK(has(damaged(R"("ab":256)", R"("ab":1e2)"), "the id of a token"));
  CHECK(has(damaged(R"("ab":256)", R"("ab":2147483648)"), "the id of a token"));
  CHECK(has(damaged(R"("ab":256)", R"("ab":99999999999999999999)"), "the id of a token"));
  CHECK(has(damaged(R"("ab":256)", R"("ab":"256")"), "as JSON"));
  CHECK(has(damaged(R"("ab":256)", R"("a":256)"), "'a' is there twice"));
  CHECK(has(damaged(R"("ab":256)", R"("a b":256)"), "not written in the 256 characters"));
  CHECK(has(damaged(R"("ab":256)", R"("世":256)"), "not written in the 256 characters"));
  CHECK(has(damaged(R"("ab":256)", R"("":256)"), "a token is empty"));
  CHECK(has(damaged(R"("ab":256)", R"("xy":256)"), "a result that is not in the vocabulary"));
  CHECK(has(refusal(vocabulary.substr(0, 100), merges), "as JSON"));
  CHECK(has(refusal(vocabulary + "x", merges), "as JSON"));
  CHECK(has(refusal("", merges), "as JSON"));
  CHECK(has(refusal("[]", merges), "as JSON"));

  const auto merge = [&](const std::string& line) { return refusal(vocabulary, merges + line); };
  CHECK(has(merge("a c\n"), "merge 3, 'a' and 'c', has a result that is not in the vocabulary"));
  CHECK(has(merge("abcd e\n"), "has a part that is not in the vocabulary"));
  std::string thousand;
  for (int i = 0; i <= 1000; ++i) thousand += "a b\n";
  CHECK(has(merge(thousand), "merge 1003, 'a' and 'b', repeats an earlier one"));
  for (const char* line : {"ab\n", "a  b\n", " ab\n", "ab \n", "a b c\n", " \n"})
    CHECK(has(merge(line), "is not two parts with one space between"));
  CHECK(has(merge("a\xFF b\n"), "is not UTF-8"));
  CHECK(has(refusal(vocabulary, "#version: 2.0\na b\n"), "'#version: 0.2' is known"));
  CHECK(has(refusal(vocabulary, "a b\n#version: 0.2\n"), "has a part"));

  const ScratchFolder folder;
  const auto missing = message_of([&] { BpeTokenizer::from_folder(folder.path()); });
  CHECK(is_sentence(missing));
  CHECK(has(missing, "vocab.json': No such file"));
  moe::write_file(folder / "vocab.json", vocabulary);
  CHECK(has(message_of([&] { BpeTokenizer::from_folder(folder.path()); }),
            "merges.txt': No such file"));
}

TEST_CASE("merges.txt: with and without its first line, line ends of both kinds", "[io]") {
  const TokenizerParts parts = with([](TokenizerParts& p) { p.merges = {"# #", "a b", "## #"}; });
  for (const char* merges :
       {"#version: 0.2\n# #\na b\n## #\n", "# #\na b\n## #\n", "# #\na b\n## #",
        "#version: 0.2 - Trained by `huggingface/tokenizers`\r\n# #\r\na b\r\n## #\r\n\r\n"}) {
    const ScratchFolder folder;
    moe::write_file(folder / "vocab.json", parts.vocabulary_json());
    moe::write_file(folder / "merges.txt", merges);
    const BpeTokenizer tokenizer = BpeTokenizer::from_folder(folder.path());
    CHECK(tokenizer.encode("###") == Ids{258});
    CHECK(tokenizer.encode("ab##") == Ids{257, 256});
  }
}

TEST_CASE("vocab.json: a byte without a token is an error where it occurs, never lost", "[error]") {
  const ScratchFolder folder;
  moe::write_file(folder / "vocab.json", R"({"a":0,"b":1,"ab":2})");
  moe::write_file(folder / "merges.txt", "a b\n");
  const BpeTokenizer tokenizer = BpeTokenizer::from_folder(folder.path());
  CHECK(tokenizer.encode("abba") == Ids{2, 1, 0});
  CHECK(tokenizer.end_of_text() == -1);
  const std::string message = message_of([&] { tokenizer.encode("ab c"); });
  CHECK(is_sentence(message));
  CHECK(has(message, "cannot encode byte 32: the vocabulary has no token for it"));
}

TEST_CASE("tokenizer.json: no damage of one byte and no cut is a crash", "[edge]") {
  const std::string good = with([](TokenizerParts& p) {
                             p.vocabulary = R"({"a":0,"b":1,"ab":2,"c":3,"abc":4,"Ġ":5})";
                             p.pre_tokenizer = moe::test::each_digit;
                             p.added = R"([{"id":6,"content":"<|x|>","special":true}])";
                           }).json();
  const std::string path = "tokenizer.json";
  const auto is_refused = [&](const std::string& json) {
    const std::string message = message_of([&] {
      const moe::detail::BytePairTables tables(moe::detail::TokenizerJsonReader(json, path).read());
    });
    if (!message.empty()) REQUIRE(is_sentence(message));
    return !message.empty();
  };
  REQUIRE(!is_refused(good));
  int refused = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    REQUIRE(is_refused(good.substr(0, at)));
    for (int byte = 0; byte < 256; byte += 5) {
      std::string bad = good;
      bad[at] = static_cast<char>(byte);
      refused += is_refused(bad);
    }
  }
  CHECK(refused > static_cast<int>(good.size()) * 20);
}

TEST_CASE("tokenizer.json: hostile files take memory in proportion to their size", "[memory]") {
  if (moe::test::sanitized) return moe::test::skip("a sanitizer has its own operator new");
  const auto repeated = [](const std::string& unit) {
    std::string text = unit;
    while (text.size() < 400'000) text += "," + unit;
    return text;
  };
  std::string names, deep;
  for (int i = 0; i < 30000; ++i)
    names += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i);
  for (int i = 0; i < 100; ++i) deep += "{\"type\":\"Sequence\",\"pretokenizers\":[";
  const std::string files[] = {
      R"({"pre_tokenizer":[)" + repeated("[]") + "]}",
      R"({"pre_tokenizer":{"pretokenizers":[)" + repeated("{}") + "]}}",
      R"({"pre_tokenizer":)" + deep + repeated("{}"),
      R"({"extra":[)" + repeated("[]") + "]}",
      R"({"model":{"vocab":{)" + names + R"(},"merges":[)" + repeated(R"("1 1")") + "]}}",
      R"({"model":{"vocab":{)" + names + R"(},"merges":[)" + repeated(R"(["1","1"])") + "]}}",
      R"({"model":{"vocab":{)" + repeated(R"("":0)") + "}}}",
      R"({"added_tokens":[)" + repeated(R"({"id":0,"content":"a"})") + "]}",
      R"({"model":{"vocab":{")" + std::string(400'000, 'a') + "\":0},\"merges\":[]}",
  };
  for (const std::string& json : files) {
    const ScratchFolder folder;
    moe::write_file(folder / "tokenizer.json", json);
    const std::string path = folder / "tokenizer.json";
    INFO(json.substr(0, 60));
    const std::size_t before = in_use;
    most_in_use = before;
    std::string message;
    message = message_of([&] { BpeTokenizer::from_tokenizer_json(path); });
    const double share = double(most_in_use - before) / double(json.size());
    CHECK(is_sentence(message));
    CHECK(share < 2.5);
    std::printf("%.60s...: %.2f of the file\n", json.c_str(), share);
  }
}

TEST_CASE("tokenizer.json: GPT-2's pattern as a step of its own is GPT-2's pattern", "[external]") {
  for (const char* contractions : {"'s|'t|'re|'ve|'m|'ll|'d", "'(?:[sdmt]|ll|ve|re)"}) {
    const auto step = [&](const std::string& behavior) {
      return std::string(R"({"type":"Sequence","pretokenizers":[{"type":"Sequence",)") +
             R"("pretokenizers":[]},{"type":"Split","pattern":{"Regex":")" + contractions +
             R"(| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},"behavior":")" +
             behavior + R"(","invert":false},{"type":"ByteLevel","add_prefix_space":false,)" +
             R"("trim_offsets":true,"use_regex":false}]})";
    };
    const auto split = with([&](TokenizerParts& p) { p.pre_tokenizer = step("Isolated"); }).load();
    CHECK(split.fingerprint() == with([](TokenizerParts&) {}).load().fingerprint());
    CHECK(has(refusal(with([&](TokenizerParts& p) { p.pre_tokenizer = step("Removed"); })),
              "'Split' does not cut"));
  }
}

TEST_CASE("tokenizer.json: ids may have holes, and a merge may be there twice", "[external]") {
  // As in Hugging Face tokenizers 0.23: the later position of a merge counts, a missing id decodes
  // to nothing.
  const std::string good = with([](TokenizerParts& p) {
                             p.merges = {"a b", "b c"};
                             p.added = R"([{"id":400,"content":"<pad>","special":true}])";
                           }).json();
  const ScratchFolder folder;
  const auto load = [&](const std::string& json) {
    moe::write_file(folder / "tokenizer.json", json);
    return BpeTokenizer::from_folder(folder.path());
  };
  const BpeTokenizer tokenizer = load(good);
  CHECK(tokenizer.vocab_size() == 401);
  CHECK(tokenizer.encode("abc") == Ids{256, 66});
  CHECK(tokenizer.encode("a<pad>", SpecialTokens::as_tokens) == Ids{64, 400});
  CHECK(tokenizer.decode({64, 300, 400}) == "a<pad>");
  tokenizer.save(folder / "saved");
  CHECK(BpeTokenizer::from_folder(folder / "saved").fingerprint() == tokenizer.fingerprint());
  const BpeTokenizer twice = load(replaced(good, R"("b c"])", R"("b c","a b"])"));
  CHECK(twice.encode("abc") == Ids{64, 257});
}

TEST_CASE("Files of a tokenizer: a byte order mark before them changes nothing", "[io]") {
  const TokenizerParts parts = with([](TokenizerParts&) {});
  const ScratchFolder folder;
  const std::string mark = "\xEF\xBB\xBF";
  moe::write_file(folder / "vocab.json", mark + parts.vocabulary_json());
  moe::write_file(folder / "merges.txt", mark + parts.merges_txt());
  CHECK(BpeTokenizer::from_folder(folder.path()).encode("abc") == Ids{257});
  moe::write_file(folder / "tokenizer.json", mark + parts.json());
  CHECK(BpeTokenizer::from_folder(folder.path()).encode("abc") == Ids{257});
}
