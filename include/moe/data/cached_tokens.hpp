#pragma once
#include <moe/data/bpe/bpe_tokenizer.hpp>
#include <moe/data/token_file.hpp>
#include <moe/io/input.hpp>

namespace moe::inline MOE_ISA {

/// The tokens of a text, and a sentence that says where they came from.
struct CachedTokens {
  TokenFile tokens;
  std::string source;
};

/// The tokens of a text, encoded once and then kept in a token file beside its file `text_path`, or
/// in `folder`. The name of the token file contains a hash of the text and the tokenizer, so that a
/// change of either makes a new file. If the file cannot be written or is damaged, the text is
/// encoded again. The tokens of a text from a pipe are not kept.
/// Errors: moe::Error for a text that cannot be encoded.  Test: tests/data/cached_tokens.cpp.
///
///     const auto tokens = moe::cached_tokens(corpus.text, corpus.path, tokenizer);
inline CachedTokens cached_tokens(std::string_view text, const std::string& text_path,
                                  const BpeTokenizer& tokenizer,
                                  SpecialTokens special = SpecialTokens::as_text,
                                  const std::string& folder = {}) {
  if (text_path.empty() || is_stream(text_path))
    return {TokenFile(tokenizer.encode(text, special)), "tokens: made, the text is in no file"};
  const std::uint64_t key =
      tokenizer.fingerprint() + static_cast<std::uint64_t>(special == SpecialTokens::as_tokens);
  const std::string place =
      folder.empty() ? text_path : folder + "/" + text_path.substr(text_path.rfind('/') + 1);
  const std::string path = place + "." + hex(xxh64(text.data(), text.size(), key)) + ".bin";
  const TokenFileOptions options{.vocab = tokenizer.vocab_size()};
  if (detail::exists(path)) {
    try {
      return {TokenFile(path, options), "tokens: " + path + " (cached)"};
    } catch (const Error&) {
      // A damaged file is written again below.
    }
  }
  std::vector<std::int32_t> tokens = tokenizer.encode(text, special);
  try {
    if (!folder.empty()) make_folders(folder);
    write_token_file(path, tokens);
    return {TokenFile(path, options), "tokens: " + path + " (made and kept)"};
  } catch (const Error& error) {
    return {TokenFile(std::move(tokens)),
            "tokens: made from " + text_path + " and not kept: " + error.sentence()};
  }
}

/// The same for a text file, which is read here.
///
///     const moe::CachedTokens stories = moe::cached_tokens("stories.txt", tokenizer);
///     std::printf("%s\n", stories.source.c_str());
///
/// Errors: moe::Error for a text that cannot be read or encoded.
inline CachedTokens cached_tokens(const std::string& text_path, const BpeTokenizer& tokenizer,
                                  SpecialTokens special = SpecialTokens::as_text,
                                  const std::string& folder = {}) {
  return cached_tokens(read_input(text_path), text_path, tokenizer, special, folder);
}

}  // namespace moe
