#pragma once
#include <moe/data/cached_tokens.hpp>

#include "reader.hpp"

namespace moe::hostile {

inline void attack_token_files(const test::ScratchFolder& scratch) {
  const std::string path = scratch / "tokens.bin";
  for (const bool wide : {false, true}) {
    const std::size_t count = 1 << 20;
    std::vector<std::int32_t> tokens(20, 7);
    if (wide) tokens[3] = 70000;
    write_token_file(path, tokens);
    const TokenFileOptions options{.vocab = wide ? 70001 : 8};
    const auto read = [=] { TokenFile(path, options).tokens(); };
    Reader reader(wide ? "wide tokens" : "tokens", path, path, read_file(path), read);
    const auto header = [&](std::uint32_t n, std::size_t bytes) {
      std::string text = reader.good().substr(0, 1024) + std::string(bytes, '\1');
      std::memcpy(&text[8], &n, sizeof n);
      return text;
    };
    const std::size_t width = wide ? 4 : 2;
    reader.rejects(Cause::signed_compare, "2^31 tokens", header(1u << 31, 4 << 20));
    reader.rejects(Cause::negative_number, "-1 tokens", header(~0u, 4 << 20));
    reader.rejects(Cause::array_times_size, "2^30 tokens, 0 bytes when it wraps",
                   header(1u << 30, 0));
    reader.rejects(Cause::elements_times_size, "2^31 tokens, no bytes", header(1u << 31, 0));
    reader.rejects(Cause::sum_overflow, "the header and the tokens wrap",
                   header(~0u - 1024 / 2 + 1, 0));
    reader.rejects(Cause::header_counts, "a token more than the file",
                   header(count + 1, count * width));
    reader.rejects(Cause::two_sizes, "a token less than the file",
                   header(count - 1, count * width));
    reader.rejects(Cause::two_sizes, "half a token", header(count, count * width + width / 2));
    reader.rejects(Cause::two_sizes, "the other width", header(count, count * (6 - width)));
    reader.rejects(Cause::count_wraps, "0 tokens and 4 MB", header(0, 4 << 20));
    for (const int at : {0, 1}) {  // magic and version
      std::string text = reader.good();
      text[std::size_t(4 * at)] = 99;
      reader.rejects(Cause::assert_as_check, "word " + std::to_string(at), text);
    }
    for (const std::uint32_t token : {8u + (wide ? 69993u : 0u), 0xFFFFu * (wide ? 0x10001u : 1u),
                                      0x8000u << (wide ? 16 : 0)}) {
      std::string text = reader.good();
      std::memcpy(&text[1024 + 5 * width], &token, width);
      reader.rejects(Cause::narrowing_cast, "token " + std::to_string(token), text);
    }
    reader.misplaced();
    reader.cut_and_appended(true);
    reader.flipped(0, 12, true);
    reader.flipped(12, 16, false);  // our mark: without it the file is one of llm.c
    reader.flipped(16, 24, true);
    reader.flipped(24, 1024, false, 50);
    reader.flipped(1024, reader.good().size(), true);
  }
  // The files of nanoGPT have no header, so only the tokens can be wrong.
  const auto read = [=] { TokenFile(path, {.vocab = 8, .headerless = true}).tokens(); };
  Reader reader("headerless tokens", path, path, std::string("\1\0\7\0\2\0", 6), read);
  reader.rejects(Cause::padding_wraps, "an odd number of bytes", std::string(4 << 20, '\0') + '\1');
  reader.rejects(Cause::index_from_text, "a token of the vocabulary's size",
                 std::string(4 << 20, '\0') + std::string("\x08\0", 2));
  reader.rejects(Cause::negative_number, "-1", "\xFF\xFF");
  reader.misplaced(true);
  reader.cut_and_appended(false);
  reader.flipped(0, 6, false);
}

/// Attacks the cached tokens of a text. A damaged cache is no error: the tokens are made anew.
inline void attack_cached_tokens(const test::ScratchFolder& scratch) {
  const std::string text = scratch / "text.txt", folder = scratch / "cache";
  put_file(text, repeated("hear me speak\n", 100));
  const auto tokenizer = BpeTokenizer::bytes();
  const std::vector<std::int32_t> tokens = tokenizer.encode(read_file(text));
  cached_tokens(text, tokenizer, SpecialTokens::as_text, folder);
  const std::string path = token_shards(folder).at(0);
  Reader reader("cached tokens", path, path, read_file(path), [&] {
    if (cached_tokens(text, tokenizer, SpecialTokens::as_text, folder).tokens.tokens() != tokens)
      throw Error("wrong tokens");
  });
  const std::string good = reader.good();
  reader.survives(Cause::damage, "empty", "");
  reader.survives(Cause::damage, "cut", good.substr(0, good.size() / 2));
  reader.survives(Cause::damage, "other tokens", good.substr(0, good.size() - 2) + "xx");
  reader.survives(Cause::header_counts, "other count",
                  good.substr(0, 8) + "zzzz" + good.substr(12));
}

}  // namespace moe::hostile
