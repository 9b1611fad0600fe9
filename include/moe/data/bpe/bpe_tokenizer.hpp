#pragma once
#include <moe/core/check_option.hpp>
#include <moe/data/bpe/byte_pair_encoder.hpp>
#include <moe/data/bpe/tokenizer_json.hpp>
#include <moe/data/bpe/tokenizer_json_writer.hpp>
#include <moe/io/folder_reader.hpp>
#include <span>

namespace moe::inline MOE_ISA {

struct BytePairOptions {
  /// Keeps only this many merges: the vocabulary is then the 256 bytes, the merged tokens and end
  /// of text. -1: as in the files.
  int merges = -1;
};

/// GPT-2's byte-level BPE. A text is divided into pieces (next_piece); in each piece the adjacent
/// pair of lowest rank is merged until no merge applies. decode(encode(x)) == x for every byte
/// string, UTF-8 or not. Any number of threads may use one object.
///
///     const auto tokenizer = moe::BpeTokenizer::from_folder("gpt2");
///     const std::vector<std::int32_t> ids = tokenizer.encode("Hello, world!");  // 15496 11 995 0
///     const std::string text = tokenizer.decode(ids);
///
/// Errors: moe::Error for files that are missing, malformed, or of another kind of tokenizer, and
/// for tokens outside of the vocabulary.  Source: openai/gpt-2 encoder.py.
/// Test: tests/data/bpe_tokenizer.cpp.
class BpeTokenizer {
 public:
  /// From GPT-2's two files.
  static BpeTokenizer from_files(const std::string& vocab_json, const std::string& merges_txt,
                                 const BytePairOptions& options = {}) {
    return {detail::read_vocabulary_files(vocab_json, merges_txt), options, vocab_json};
  }
  /// From a tokenizer.json like those of GPT-2 or SmolLM. Settings that would lead to other ids
  /// than this class produces are rejected.
  static BpeTokenizer from_tokenizer_json(const std::string& path,
                                          const BytePairOptions& options = {}) {
    return {detail::read_tokenizer_json(path), options, path};
  }
  /// From tokenizer.json if the folder has one, else from vocab.json and merges.txt.
  static BpeTokenizer from_folder(const std::string& folder, const BytePairOptions& options = {}) {
    return read_settled(folder, [&](const std::string& place) {
      const std::string json = place + "/tokenizer.json";
      if (detail::exists(json)) return from_tokenizer_json(json, options);
      return from_files(place + "/vocab.json", place + "/merges.txt", options);
    });
  }
  /// Without files or merges: GPT-2's tokens 0 to 255, one per byte, and 256 for end of text.
  static BpeTokenizer bytes() {
    return {detail::BytePairVocabulary(), BytePairOptions{.merges = 0}, ""};
  }

  /// The largest id plus one: the rows that an embedding needs. Ids without a token are empty
  /// strings.
  int vocab_size() const { return tokens().size(); }
  int size() const { return vocab_size(); }
  /// The token <|endoftext|>, or -1.
  int end_of_text() const { return end_of_text_; }
  /// The token with these bytes (for an added token: its text), or -1.
  int token_of(std::string_view bytes) const {
    for (const detail::AddedToken& added : tables_.vocabulary.added)
      if (tokens()[added.id] == bytes) return added.id;
    return tables_.vocabulary.index.find(tokens(), bytes);
  }
  /// A hash that differs between tokenizers that produce different ids.
  std::uint64_t fingerprint() const { return fingerprint_; }

  /// Encodes a text. Special tokens in it are treated as ordinary text unless the caller allows
  /// them.
  std::vector<std::int32_t> encode(std::string_view text,
                                   SpecialTokens special = SpecialTokens::as_text) const {
    return detail::BytePairEncoder(tables_, text, special).take();
  }

  std::string_view bytes_of(std::int32_t token) const {
    if (token >= 0 && token < vocab_size()) return tokens()[token];
    throw Error("cannot decode token ", token, ": the vocabulary has ", vocab_size(),
                " tokens; use the tokenizer of the model");
  }
  /// The bytes of the tokens; special tokens give their text. The bytes of tokens that a model
  /// chose need not be UTF-8; TextStream prints them one by one.
  std::string decode(std::span<const std::int32_t> tokens) const {
    std::string text;
    for (const std::int32_t token : tokens) text += bytes_of(token);
    return text;
  }
  std::string decode(std::initializer_list<std::int32_t> tokens) const {
    return decode(std::span<const std::int32_t>(tokens.begin(), tokens.size()));
  }

  /// Writes tokenizer.json, tokenizer_config.json, vocab.json and merges.txt, which Hugging Face
  /// libraries and from_folder read. Creates the folder if needed.
  /// Errors: moe::Error if one of these files exists with other content; nothing is written then.
  void save(const std::string& folder) const {
    const detail::TokenizerTexts texts = detail::write_tokenizer(tables_.vocabulary);
    const std::pair<const char*, const std::string*> files[] = {
        {"vocab.json", &texts.vocabulary},
        {"merges.txt", &texts.merges},
        {"tokenizer.json", &texts.tokenizer},
        {"tokenizer_config.json", &texts.config}};
    make_folders(folder);
    for (const auto& [name, text] : files) {
      const std::string path = folder + "/" + name;
      if (detail::exists(path) && read_file(path) != *text)
        throw Error("cannot save the tokenizer to '", folder, "': '", name,
                    "' is there and is of another one; move it away or choose another folder");
    }
    for (const auto& [name, text] : files) write_file(folder + "/" + name, *text);
  }

 private:
  BpeTokenizer(detail::BytePairVocabulary vocabulary, const BytePairOptions& options,
               const std::string& path)
      : tables_(checked(options).merges < 0 ? std::move(vocabulary)
                                            : first_merges(vocabulary, options.merges, path)),
        end_of_text_(token_of(detail::end_of_text_token)),
        fingerprint_(make_fingerprint()) {}

  static const BytePairOptions& checked(const BytePairOptions& options) {
    detail::OptionCheck{"make a tokenizer", "BytePairOptions"}.at_least("merges", options.merges,
                                                                        -1);
    return options;
  }
  const detail::TokenStrings& tokens() const { return tables_.vocabulary.tokens; }

  /// The vocabulary of the bytes and the first merges, with end of text as the last token.
  static detail::BytePairVocabulary first_merges(const detail::BytePairVocabulary& all, int merges,
                                                 const std::string& path) {
    const auto fail = [&](const std::string& why) {
      throw Error("cannot take the first ", merges, " merges of '", path, "': ", why,
                  "; give a smaller number or GPT-2's files");
    };
    if (static_cast<std::size_t>(merges) > all.merges.size())
      fail("it has " + std::to_string(all.merges.size()));
    if (merges > 0 && all.tokens.size() < 256 + merges)
      fail("it has " + std::to_string(all.tokens.size()) + " tokens");
    detail::BytePairVocabulary out;
    out.pre_tokenizer = all.pre_tokenizer;
    for (const unsigned char byte : detail::bytes_by_character) {
      const char c = static_cast<char>(byte);
      if (const int id = out.tokens.size(); merges > 0 && all.tokens[id] != std::string_view(&c, 1))
        fail("its tokens 0 to 255 are not GPT-2's bytes");
      out.tokens.push_back({&c, 1});
    }
    for (int i = 0; i < merges; ++i) {
      const detail::Merge& merge = all.merges[static_cast<std::size_t>(i)];
      if (merge.result != 256 + i || merge.left >= 256 + i || merge.right >= 256 + i)
        fail("the tokens after the bytes are not in the order of the merges");
      out.tokens.push_back(all.tokens[merge.result]);
      out.merges.push_back(merge);
      out.pairs.insert(merge.left, merge.right, i);
    }
    out.index = detail::TokenIndex(static_cast<std::size_t>(out.tokens.size()) + 1);
    for (int id = 0; id < out.tokens.size(); ++id) out.index.insert(out.tokens, id);
    out.added.push_back({.id = out.tokens.size(), .special = true});
    out.tokens.push_back(detail::end_of_text_token);
    return out;
  }

  std::uint64_t make_fingerprint() const {
    const detail::BytePairVocabulary& all = tables_.vocabulary;
    std::uint64_t hash = static_cast<std::uint64_t>(all.pre_tokenizer) * 2 +
                         static_cast<std::uint64_t>(all.ignore_merges);
    const auto add = [&](const void* bytes, std::size_t size) { hash = xxh64(bytes, size, hash); };
    for (int id = 0; id < vocab_size(); ++id) add(tokens()[id].data(), tokens()[id].size());
    static_assert(sizeof(detail::Merge) == 12);
    add(all.merges.data(), all.merges.size() * sizeof(detail::Merge));
    for (const detail::AddedToken& added : all.added) {
      const std::int32_t words[] = {added.id, added.special, added.normalized, added.in_model};
      add(words, sizeof words);
    }
    return hash;
  }

  detail::BytePairTables tables_;
  int end_of_text_;
  std::uint64_t fingerprint_;
};

}  // namespace moe
