#pragma once
#include <moe/data/byte_pair_encoding.hpp>
#include <moe/data/token_file.hpp>

namespace moe {

/// The tokens of a text and a sentence that says where they came from.
struct CachedTokens {
  TokenFile tokens;
  std::string source;
};

/// The tokens of a text file, encoded once and kept in a token file beside it or in `folder`. The
/// name of that file holds a hash of the text and of the tokenizer: with either changed it is
/// another file. Where none can be written, or one is damaged, the tokens are made anew.
///
///     const moe::CachedTokens stories = moe::cached_tokens("stories.txt", tokenizer);
///     std::printf("%s\n", stories.source.c_str());
///
/// Errors: a text that cannot be read or encoded.  Test: tests/data/cached_tokens.cpp.
inline CachedTokens cached_tokens(const std::string& text_path, const BytePairEncoding& tokenizer,
                                  SpecialTokens special = SpecialTokens::as_text,
                                  const std::string& folder = {}) {
  const std::string text = read_file(text_path);
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
      // Written below, as if it had not been there.
    }
  }
  std::vector<std::int32_t> tokens = tokenizer.encode(text, special);
  try {
    if (!folder.empty()) make_folders(folder);
    write_token_file(path, tokens);
    return {TokenFile(path, options), "tokens: " + path + " (made and kept)"};
  } catch (const Error& error) {
    return {TokenFile(std::move(tokens)), "tokens: made from " + text_path + " and not kept: " +
                                              std::string(error.what()).substr(5)};
  }
}

}  // namespace moe
