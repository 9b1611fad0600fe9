#pragma once
#include <moe/core/random.hpp>
#include <moe/data/bpe/bpe_tokenizer.hpp>
#include <string>
#include <vector>

#include "io/scratch.hpp"

namespace moe::test {

/// A tokenizer.json from its parts: the 256 bytes in GPT-2's order, what the merges make, and
/// <|endoftext|>; each part can be replaced.
struct TokenizerParts {
  std::vector<std::string> merges;       // "a b", in the characters of the file
  std::vector<std::string> more_tokens;  // of the vocabulary, before <|endoftext|>
  std::string vocabulary;                // JSON, instead of the above
  std::string pre_tokenizer =
      R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  std::string settings = R"("dropout":null,"unk_token":null,"byte_fallback":false)";
  std::string added = "[]";
  std::string fields = R"("normalizer":null,"post_processor":null)";
  bool pairs = false;  // merges as ["a","b"]

  static std::string quoted(const std::string& text) {
    std::string out;
    detail::append_json_string(out, text);
    return out;
  }
  std::vector<std::string> tokens() const {
    std::vector<std::string> all;
    for (const unsigned char byte : detail::bytes_by_character) {
      const char c = static_cast<char>(byte);
      all.push_back(detail::to_characters({&c, 1}));
    }
    for (std::string merge : merges) {
      merge.erase(merge.find(' '), 1);
      all.push_back(merge);
    }
    all.insert(all.end(), more_tokens.begin(), more_tokens.end());
    all.push_back("<|endoftext|>");
    return all;
  }
  std::string vocabulary_json() const {
    if (!vocabulary.empty()) return vocabulary;
    std::string out = "{";
    int id = 0;
    for (const std::string& token : tokens()) {
      out += (id > 0 ? "," : "") + quoted(token) + ":" + std::to_string(id);
      ++id;
    }
    return out + "}";
  }
  std::string merges_txt() const {
    std::string out = "#version: 0.2\n";
    for (const std::string& merge : merges) out += merge + "\n";
    return out;
  }
  std::string json() const {
    std::string list;
    for (const std::string& merge : merges) {
      const std::size_t space = merge.find(' ');
      list += list.empty() ? "" : ",";
      list += !pairs ? quoted(merge)
                     : "[" + quoted(merge.substr(0, space)) + "," +
                           quoted(merge.substr(space + 1)) + "]";
    }
    return R"({"version":"1.0","added_tokens":)" + added + "," + fields + R"(,"pre_tokenizer":)" +
           pre_tokenizer + R"(,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE",)" + settings +
           R"(,"vocab":)" + vocabulary_json() + R"(,"merges":[)" + list + "]}}";
  }

  BpeTokenizer load() const {
    const ScratchFolder folder;
    write_file(folder / "tokenizer.json", json());
    return BpeTokenizer::from_folder(folder.path());
  }
};

inline constexpr const char* each_digit =
    R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]})";

/// Random text of characters at the borders of the Unicode classes, contractions, and bytes that
/// are not UTF-8.
inline std::string random_text(std::uint64_t seed, std::uint64_t index, std::uint32_t most = 14) {
  static const std::vector<std::string> parts = {"a",
                                                 "b",
                                                 "c",
                                                 "S",
                                                 "t",
                                                 "'",
                                                 "''",
                                                 "'s",
                                                 "'ll",
                                                 "'re",
                                                 "'v",
                                                 " ",
                                                 " ",
                                                 "  ",
                                                 "\t",
                                                 "\n",
                                                 "\r",
                                                 "\v",
                                                 "\x1c",
                                                 "\x1f",
                                                 "\xC2\x85",
                                                 "0",
                                                 "12",
                                                 "7",
                                                 "½",
                                                 "²",
                                                 "Ⅷ",
                                                 "٣",
                                                 "é",
                                                 "世",
                                                 "界",
                                                 "!",
                                                 "?",
                                                 ".,",
                                                 "##",
                                                 "# $",
                                                 "<|",
                                                 "|>",
                                                 "😀",
                                                 "’",
                                                 "e\xCC\x81",
                                                 "the",
                                                 " of",
                                                 "\xC2\xA0",
                                                 "\xE1\x9A\x80",
                                                 "\xE1\xA0\x8E",
                                                 "\xE2\x80\x83",
                                                 "\xE2\x80\x8B",
                                                 "\xEF\xBB\xBF",
                                                 "\xE3\x80\x80",
                                                 "\x80",
                                                 "\xBF",
                                                 "\xC0",
                                                 "\xC3",
                                                 "\xE2\x80",
                                                 "\xED\xA0\x80",
                                                 "\xF0\x9F",
                                                 "\xF5",
                                                 "\xFF",
                                                 std::string(1, '\0'),
                                                 "<|endoftext|>"};
  const RandomWords words = philox(seed, index, 0);
  std::string text;
  for (std::uint32_t i = 0; i < words[0] % (most + 1); ++i)
    text += parts[philox(seed, index, 1 + i)[0] % parts.size()];
  return text;
}

}  // namespace moe::test
