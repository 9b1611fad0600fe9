#pragma once
#include <algorithm>
#include <cstdlib>
#include <moe/data/bpe/bpe_tokenizer.hpp>
#include <moe/data/cached_tokens.hpp>
#include <moe/data/text.hpp>
#include <moe/io/checksum.hpp>
#include <moe_lab/corpus.hpp>
#include <span>

namespace lab {

/// Which text is used, how it becomes tokens, and where it is cut into training and validation.
struct DataOptions {
  std::string path = {};         // "": the text called `text`
  std::string text = "stories";  // or shakespeare
  std::string vocabulary = {};   // folder with GPT-2's files; "": look in $MOE_DATA_DIR
  std::string tokenizer = {};    // folder with a tokenizer.json, in place of `vocabulary`
  int stories = 0;               // the first so many documents; 0: all
  int vocab = 257;               // of the model; GPT-2's merges are cut to it; 257: bytes
  bool documents = true;         // cut between two documents, if the text has any
  std::string cache = {};        // folder for the tokens of a text that was found, not given
};

/// A text as tokens. It is cut into training and validation before windows are taken, so that no
/// validation token is trained on.   Test: tests/lab/data.cpp, tests/programs/dense_vs_moe.py.
struct Data {
  moe::BpeTokenizer tokenizer;
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

  /// All tokens of a tokenizer.json must fit the model; GPT-2's are cut to as many as fit.
  static moe::BpeTokenizer tokenizer_of(const DataOptions& o, const std::string& folder) {
    if (o.tokenizer.empty())
      return folder.empty() ? moe::BpeTokenizer::bytes()
                            : moe::BpeTokenizer::from_folder(folder, {.merges = o.vocab - 257});
    auto tokenizer = moe::BpeTokenizer::from_folder(o.tokenizer);
    if (tokenizer.vocab_size() > o.vocab)
      throw moe::Error("cannot use the tokenizer of '", o.tokenizer, "': it has ",
                       tokenizer.vocab_size(), " tokens and the model ", o.vocab,
                       "; use a preset with a larger vocabulary");
    return tokenizer;
  }

  /// Errors: the text is too short for one window of training or of validation. `advice`: what else
  /// helps, for the message.
  void check_size(int length, int eval_length, const std::string& advice) const {
    const std::size_t need = std::size_t(std::max(length, eval_length)) + 1;
    if (train.size() > std::size_t(length) && validation.size() > std::size_t(eval_length)) return;
    throw moe::Error("cannot train on this text of ", tokens.size(), " tokens (",
                     source.substr(0, source.find('\n')), "): the last tenth, ", validation.size(),
                     " tokens, is for validation, and a ", "window needs ", need,
                     "; give a longer text, about ", 10 * need, " tokens are enough", advice);
  }

 private:
  Data(const DataOptions& o, const std::string& folder) : tokenizer(tokenizer_of(o, folder)) {
    vocabulary = "vocabulary: " + std::to_string(tokenizer.vocab_size());
    if (!o.tokenizer.empty())
      vocabulary += " tokens, from " + o.tokenizer;
    else
      vocabulary += folder.empty() ? " tokens, one a byte" : " tokens of GPT-2's, from " + folder;
    if (o.tokenizer.empty() && folder.empty() && o.vocab > 257)
      vocabulary +=
          ", because no vocab.json and merges.txt of GPT-2 were found; give their folder with "
          "--vocabulary";
    Corpus corpus =
        o.text == "shakespeare" ? find_tiny_shakespeare(o.path) : find_tiny_stories(o.path);
    source = corpus.source;
    if (o.stories > 0) keep_stories(corpus, o.stories);
    if (corpus.path.empty() || folder.empty()) {
      tokens = tokenizer.encode(corpus.text, moe::SpecialTokens::as_tokens);
    } else {
      const moe::CachedTokens cached =
          moe::cached_tokens(corpus.text, corpus.path, tokenizer, moe::SpecialTokens::as_tokens,
                             o.path.empty() ? o.cache : "");
      tokens = cached.tokens.tokens();
      source += "\n" + cached.source;
    }
    const std::string name = corpus.name();
    const moe::Split part = o.documents
                                ? moe::split_documents(corpus.text, "<|endoftext|>", 0.1, name)
                                : moe::split(corpus.text, 0.1, name);
    std::size_t bytes = 0, n = 0;
    while (n < tokens.size() && bytes < part.train.size())
      bytes += tokenizer.bytes_of(tokens[n++]).size();
    train = std::span(tokens).first(n);
    validation = std::span(tokens).subspan(n);
  }

  /// Keeps the first `stories` documents of the text, or all if it has fewer. The path is cleared,
  /// because the cache of tokens is for whole files.
  void keep_stories(Corpus& corpus, int stories) {
    static constexpr std::string_view end = "<|endoftext|>";
    std::size_t at = 0;
    int count = 0;
    while (count < stories && at < corpus.text.size()) {
      const std::size_t found = corpus.text.find(end, at);
      at = found == std::string::npos ? corpus.text.size() : found + end.size();
      ++count;
    }
    corpus.text.resize(at);
    corpus.path.clear();
    source += "\nits first " + std::to_string(count) + " stories" +
              (count < stories ? ", all that there are" : "");
  }

  static std::string vocabulary_folder(const DataOptions& o) {
    if (!o.tokenizer.empty()) return o.tokenizer;
    if (o.vocab <= 257) return "";
    if (!o.vocabulary.empty()) return o.vocabulary;
    const char* folder = std::getenv("MOE_DATA_DIR");
    const std::string gpt2 = folder ? std::string(folder) + "/gpt2" : "";
    return folder && moe::detail::exists(gpt2 + "/merges.txt") ? gpt2 : "";
  }
};

}  // namespace lab
