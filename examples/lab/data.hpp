#pragma once
#include <cstdlib>
#include <moe/data/byte_pair_encoding.hpp>
#include <moe/data/cached_tokens.hpp>
#include <moe/data/corpus.hpp>
#include <moe/data/text.hpp>
#include <moe/io/checksum.hpp>

namespace lab {

/// Which text, how it becomes tokens, and where it is cut.
struct DataOptions {
  std::string path = {};         // "": the text called `text`
  std::string text = "stories";  // or shakespeare
  std::string vocabulary = {};   // folder with GPT-2's files; "": look in $MOE_DATA_DIR
  int vocab = 257;               // of the model: GPT-2's first merges that fit; 257: bytes
  bool documents = true;         // the cut lies between two documents, where the text has any
  std::string cache = {};        // folder for the tokens of a text that was found, not given
};

/// A text as tokens, cut into training and validation before any window is: no validation token is
/// trained on.   Test: tests/lab/data.cpp, tests/programs/dense_vs_moe.py.
struct Data {
  moe::BytePairEncoding tokenizer;
  std::string source, vocabulary;  // sentences for the user
  std::vector<std::int32_t> tokens;
  std::span<const std::int32_t> train, validation;

  explicit Data(const DataOptions& o) : Data(o, vocabulary_folder(o)) {}

  std::string hash() const {
    return moe::hex(moe::xxh64(tokens.data(), tokens.size() * sizeof(tokens[0]))) + "/" +
           std::to_string(train.size());
  }
  std::string describe() const {
    return source + "\n" + vocabulary + "\n" + std::to_string(train.size()) + " tokens train, " +
           std::to_string(validation.size()) + " validate\n";
  }

 private:
  Data(const DataOptions& o, const std::string& folder)
      : tokenizer(folder.empty()
                      ? moe::BytePairEncoding::bytes()
                      : moe::BytePairEncoding::from_folder(folder, {.merges = o.vocab - 257})) {
    vocabulary = "vocabulary: " + std::to_string(tokenizer.vocab_size()) +
                 (folder.empty() ? " tokens, one a byte" : " tokens of GPT-2's, from " + folder);
    if (folder.empty() && o.vocab > 257)
      vocabulary +=
          ", because no vocab.json and merges.txt of GPT-2 were found; give their folder with "
          "--vocabulary";
    const moe::Corpus corpus = o.text == "shakespeare" ? moe::find_tiny_shakespeare(o.path)
                                                       : moe::find_tiny_stories(o.path);
    source = corpus.source;
    if (corpus.path.empty() || folder.empty()) {
      tokens = tokenizer.encode(corpus.text, moe::SpecialTokens::as_tokens);
    } else {
      const moe::CachedTokens cached =
          moe::cached_tokens(corpus.text, corpus.path, tokenizer, moe::SpecialTokens::as_tokens,
                             o.path.empty() ? o.cache : "");
      tokens = cached.tokens.tokens();
      source += "\n" + cached.source;
    }
    const moe::Split part =
        o.documents ? moe::split_documents(corpus.text, "<|endoftext|>") : moe::split(corpus.text);
    std::size_t bytes = 0, n = 0;
    while (n < tokens.size() && bytes < part.train.size())
      bytes += tokenizer.bytes_of(tokens[n++]).size();
    train = std::span(tokens).first(n);
    validation = std::span(tokens).subspan(n);
  }

  static std::string vocabulary_folder(const DataOptions& o) {
    if (o.vocab <= 257) return "";
    if (!o.vocabulary.empty()) return o.vocabulary;
    const char* folder = std::getenv("MOE_DATA_DIR");
    const std::string gpt2 = folder ? std::string(folder) + "/gpt2" : "";
    return folder && moe::detail::exists(gpt2 + "/merges.txt") ? gpt2 : "";
  }
};

}  // namespace lab
