#pragma once
#include <algorithm>
#include <moe/data/bpe/byte_characters.hpp>
#include <moe/data/bpe/byte_pair_merges.hpp>
#include <moe/data/bpe/pre_tokenizer.hpp>
#include <moe/io/json.hpp>
#include <moe/io/memory_map.hpp>
#include <utility>

namespace moe::inline MOE_ISA::detail {

inline constexpr std::string_view end_of_text_token = "<|endoftext|>";

/// A token that is searched for in the text before the text is divided into pieces.
struct AddedToken {
  std::int32_t id = -1;
  bool special = false;     // searched only if the caller allows special tokens
  bool normalized = false;  // searched after those that are not normalized
  bool in_model = true;     // part of the vocabulary that merges work on
};

/// The checked content of the files of a byte-level tokenizer.
struct BytePairVocabulary {
  TokenStrings tokens;  // bytes of token 0, 1, ...; empty if no token has this id
  TokenIndex index;     // the tokens that merges work on
  std::vector<Merge> merges;
  PairTable pairs;  // the ranks of the merges
  std::vector<AddedToken> added;
  PreTokenizer pre_tokenizer = PreTokenizer::gpt2;
  bool ignore_merges = false;  // a piece that is a token is not divided
};

/// The tokens as they appear in a file, in its order.
struct BytePairText {
  TokenStrings names, added_names;
  std::vector<std::int32_t> ids;  // of `names`
  std::vector<AddedToken> added;  // of `added_names`
  PreTokenizer pre_tokenizer = PreTokenizer::gpt2;
  bool ignore_merges = false;
};

[[noreturn]] inline void vocabulary_failed(const std::string& path, const std::string& why) {
  throw Error("cannot use '", path, "' as a tokenizer: ", why,
              "; give the files of a byte-level BPE tokenizer such as GPT-2's or SmolLM's");
}

inline MemoryMap map_vocabulary(const std::string& path) {
  MemoryMap file(path);
  refuse_foreign(file.bytes(), path);
  if (file.bytes().size() >> 31 != 0) vocabulary_failed(path, "it is larger than 2 GiB");
  return file;
}

inline std::int32_t read_id(JsonReader& reader) {
  const JsonNumber number = reader.number();
  if (number.kind != JsonNumber::Kind::signed_integer || number.signed_value < 0 ||
      number.signed_value > INT_MAX) {
    reader.fail("the id of a token is expected");
  }
  return static_cast<std::int32_t>(number.signed_value);
}

/// Reads the names and ids that come next.
inline void read_vocabulary(JsonReader& reader, BytePairText& text) {
  // Count first: a vector that grows takes up to three times the memory.
  std::size_t tokens = 0, bytes = 0;
  JsonReader ahead = reader;
  ahead.each_member([&](const std::string& name) {
    ++tokens, bytes += name.size();
    read_id(ahead);
  });
  text.ids.reserve(tokens);
  text.names.reserve(tokens, bytes);
  reader.each_member([&](const std::string& name) {
    if (name.empty()) reader.fail("a token is empty");
    text.names.push_back(name);
    text.ids.push_back(read_id(reader));
  });
}

/// The upper bound of the ids that `count` tokens may have. Vocabularies have gaps (reserved or
/// removed ids), but not so many that a small file should make us allocate much memory.
inline std::size_t id_limit(std::size_t count) {
  constexpr std::size_t holes = 1 << 16;
  return count + holes;
}

[[noreturn]] inline void id_too_large(const std::string& path, std::string_view name,
                                      std::size_t id, std::size_t count) {
  vocabulary_failed(path, "token " + in_quotes(name) + " has id " + std::to_string(id) + " where " +
                              std::to_string(count) + " tokens have ids below " +
                              std::to_string(id_limit(count)));
}

/// Rejects names and ids that are invalid by themselves, before tables are built from them.
inline void check_each(const BytePairText& text, const std::string& path) {
  TokenIndex added(static_cast<std::size_t>(text.added_names.size()));
  for (int i = 0; i < text.added_names.size(); ++i) added.insert(text.added_names, i);
  std::size_t count = text.ids.size() + text.added.size();
  std::string bytes;
  for (int i = 0; i < text.names.size(); ++i) {
    if (added.find(text.added_names, text.names[i]) >= 0) {
      --count;
    } else if (!to_bytes(text.names[i], bytes)) {
      vocabulary_failed(path, "token " + in_quotes(text.names[i]) +
                                  " is not written in the 256 characters of byte-level BPE");
    }
  }
  std::vector<bool> given(id_limit(count));
  for (int i = 0; i < text.names.size(); ++i) {
    const auto id = static_cast<std::size_t>(text.ids[static_cast<std::size_t>(i)]);
    if (id >= given.size()) id_too_large(path, text.names[i], id, count);
    if (given[id]) {
      vocabulary_failed(path, "id " + std::to_string(id) + " is given to two tokens, one of them " +
                                  in_quotes(text.names[i]));
    }
    given[id] = true;
  }
}

/// Checks the content of `path` and sorts it by id.
inline BytePairVocabulary assemble(const BytePairText& text, const std::string& path) {
  const auto fail = [&](const std::string& why) { vocabulary_failed(path, why); };
  check_each(text, path);
  TokenIndex names(static_cast<std::size_t>(text.names.size()));
  for (int i = 0; i < text.names.size(); ++i) {
    if (names.insert(text.names, i) >= 0)
      fail("token " + in_quotes(text.names[i]) + " is there twice");
  }
  BytePairVocabulary out;
  out.pre_tokenizer = text.pre_tokenizer;
  out.ignore_merges = text.ignore_merges;

  // The content of each id: the number i of a name, or -2 - i for added token i.
  constexpr std::int32_t nothing = -1;
  std::size_t tokens = text.ids.size();
  std::int32_t last = -1;
  for (const std::int32_t id : text.ids) last = std::max(last, id);
  for (int i = 0; i < text.added_names.size(); ++i) {
    tokens += names.find(text.names, text.added_names[i]) < 0;
    last = std::max(last, text.added[static_cast<std::size_t>(i)].id);
  }
  const auto size = std::min(static_cast<std::size_t>(last + std::int64_t{1}), id_limit(tokens));
  const auto count = static_cast<std::int32_t>(size);
  std::vector<std::int32_t> at(size, nothing);
  const auto place = [&](std::int32_t id, std::int32_t what, std::string_view name) {
    if (id >= count) id_too_large(path, name, static_cast<std::size_t>(id), tokens);
    std::int32_t& slot = at[static_cast<std::size_t>(id)];
    if (slot != nothing) {
      fail("id " + std::to_string(id) + " is given to two tokens, one of them " + in_quotes(name));
    }
    slot = what;
  };
  for (int i = 0; i < text.names.size(); ++i)
    place(text.ids[static_cast<std::size_t>(i)], i, text.names[i]);
  TokenIndex added_names(static_cast<std::size_t>(text.added_names.size()));
  for (int i = 0; i < text.added_names.size(); ++i) {
    const std::string_view name = text.added_names[i];
    AddedToken added = text.added[static_cast<std::size_t>(i)];
    const std::int32_t known = names.find(text.names, name);
    added.in_model = known >= 0;
    if (added_names.insert(text.added_names, i) >= 0)
      fail("added token " + in_quotes(name) + " is there twice");
    if (known >= 0) {
      if (text.ids[static_cast<std::size_t>(known)] != added.id) {
        fail("added token " + in_quotes(name) + " has another id than in the vocabulary");
      }
      at[static_cast<std::size_t>(added.id)] = -2 - i;
    } else {
      place(added.id, -2 - i, name);
    }
    out.added.push_back(added);
  }

  out.index = TokenIndex(tokens);
  std::string bytes;
  for (std::int32_t id = 0; id < count; ++id) {
    const std::int32_t what = at[static_cast<std::size_t>(id)];
    if (what == nothing) {
      out.tokens.push_back("");
      continue;
    }
    const bool added = what < nothing;
    const std::string_view name = added ? text.added_names[-2 - what] : text.names[what];
    const bool known = to_bytes(name, bytes);
    out.tokens.push_back(added ? name : std::string_view(bytes));
    const bool in_model = !added || out.added[static_cast<std::size_t>(-2 - what)].in_model;
    if (in_model && known && bytes == out.tokens[id]) out.index.insert(out.tokens, id);
  }

  std::sort(out.added.begin(), out.added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });

  return out;
}

/// Adds merges to a vocabulary one by one as they are read, so that a rejected file costs no
/// memory.
class MergeReader {
 public:
  MergeReader(BytePairVocabulary& vocabulary, const std::string& path)
      : vocabulary_(vocabulary), path_(path) {}

  void add(std::string_view left, std::string_view right) {
    const auto find = [&](std::string_view part) {
      return vocabulary_.index.find(vocabulary_.tokens, part);
    };
    Merge merge{-1, -1, -1};
    constexpr std::size_t longest = 1 << 16;
    if (left.size() + right.size() <= longest && to_bytes(left, left_) && to_bytes(right, right_))
      merge = {find(left_), find(right_), find(left_ += right_)};
    const std::size_t rank = vocabulary_.merges.size();
    const std::string pair = in_quotes(left) + " and " + in_quotes(right);
    if (merge.left < 0 || merge.right < 0 || merge.result < 0) {
      fail(pair, std::string("has ") + (merge.left < 0 || merge.right < 0 ? "a part" : "a result") +
                     " that is not in the vocabulary");
    }
    // As in Hugging Face's tokenizers, the later rank of a repeated pair counts.
    constexpr int most_repeats = 1000;
    if (!vocabulary_.pairs.insert(merge.left, merge.right, static_cast<std::int32_t>(rank)) &&
        ++repeats_ > most_repeats)
      fail(pair, "repeats an earlier one, as more than 1000 do");
    vocabulary_.merges.push_back(merge);
  }

  /// "left right".
  void add(std::string_view line) {
    const std::size_t space = line.find(' ');
    if (space == 0 || space >= line.size() - 1 || line.find(' ', space + 1) != std::string::npos)
      fail(in_quotes(line), "is not two parts with one space between");
    add(line.substr(0, space), line.substr(space + 1));
  }

  /// The lines of merges.txt, one pair each. Only the first line may be a comment, and only if it
  /// begins with #version, because merges may begin with '#'.
  void add_lines(std::string_view text) {
    if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
      vocabulary_failed(path_, "byte " + std::to_string(bad) + " is not UTF-8");
    for (bool first = true; !text.empty(); first = false) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (first && line.starts_with("#version")) {
        if (line.starts_with("#version: 0.")) continue;
        vocabulary_failed(
            path_, "its first line is " + in_quotes(line) + " where '#version: 0.2' is known");
      }
      if (!line.empty()) add(line);
    }
  }

 private:
  [[noreturn]] void fail(const std::string& merge, const std::string& why) const {
    vocabulary_failed(path_, "merge " + std::to_string(vocabulary_.merges.size() + 1) + ", " +
                                 merge + ", " + why);
  }

  BytePairVocabulary& vocabulary_;
  const std::string& path_;
  std::string left_, right_;
  int repeats_ = 0;
};

/// Reads GPT-2's files vocab.json and merges.txt.
inline BytePairVocabulary read_vocabulary_files(const std::string& vocabulary,
                                                const std::string& merges) {
  BytePairText text;
  {
    const MemoryMap file = map_vocabulary(vocabulary);
    JsonReader reader(without_byte_order_mark(file.bytes()), vocabulary);
    read_vocabulary(reader, text);
    reader.finish();
  }
  for (int i = 0; i < text.names.size(); ++i) {
    if (text.names[i] != end_of_text_token || text.added_names.size() > 0) continue;
    text.added_names.push_back(end_of_text_token);
    text.added.push_back({.id = text.ids[static_cast<std::size_t>(i)], .special = true});
  }
  BytePairVocabulary out = assemble(text, vocabulary);
  const MemoryMap file = map_vocabulary(merges);
  MergeReader(out, merges).add_lines(without_byte_order_mark(file.bytes()));
  return out;
}

}  // namespace moe::detail
