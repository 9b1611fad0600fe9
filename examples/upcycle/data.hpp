#pragma once
#include <cstdlib>
#include <moe/data/byte_pair_encoding.hpp>
#include <moe/data/cached_tokens.hpp>
#include <moe/data/corpus.hpp>
#include <moe/data/text.hpp>

namespace growth {

/// The stories as tokens, split as text: no validation token is trained on.
struct Data {
  moe::BytePairEncoding tokenizer;
  std::string source, vocabulary;
  std::vector<std::int32_t> tokens;
  std::span<const std::int32_t> train, validation;

  /// `vocab`: of the model. GPT-2's first merges that fit, or bytes when its files are nowhere.
  /// Tokens are kept beside a text that the caller names, those of a text that was found in `out`.
  Data(const std::string& path, const std::string& vocabulary_folder, int vocab,
       const std::string& out)
      : Data(path, vocabulary_folder.empty() ? find_vocabulary() : vocabulary_folder, vocab, out,
             {}) {}

 private:
  struct Found {};
  Data(const std::string& path, const std::string& folder, int vocab, const std::string& out, Found)
      : tokenizer(folder.empty()
                      ? moe::BytePairEncoding::bytes()
                      : moe::BytePairEncoding::from_folder(folder, {.merges = vocab - 257})) {
    vocabulary = folder.empty() ? "vocabulary: bytes, because no vocab.json and merges.txt of "
                                  "GPT-2 were found; give their folder with --vocabulary"
                                : "vocabulary: " + std::to_string(tokenizer.vocab_size()) +
                                      " tokens of GPT-2's, from " + folder;
    const moe::Corpus corpus = moe::find_tiny_stories(path);
    source = corpus.source;
    if (corpus.path.empty()) {
      tokens = tokenizer.encode(corpus.text, moe::SpecialTokens::as_tokens);
    } else {
      const moe::CachedTokens cached = moe::cached_tokens(
          corpus.path, tokenizer, moe::SpecialTokens::as_tokens, path.empty() ? out : "");
      tokens = cached.tokens.tokens();
      source += "\n" + cached.source;
    }
    const std::size_t cut = moe::split(corpus.text).train.size();
    std::size_t bytes = 0, n = 0;
    while (n < tokens.size() && bytes < cut) bytes += tokenizer.bytes_of(tokens[n++]).size();
    train = std::span(tokens).first(n);
    validation = std::span(tokens).subspan(n);
  }

  static std::string find_vocabulary() {
    const char* folder = std::getenv("MOE_DATA_DIR");
    const std::string gpt2 = folder ? std::string(folder) + "/gpt2" : "";
    return folder && moe::detail::exists(gpt2 + "/merges.txt") ? gpt2 : "";
  }
};

}  // namespace growth
