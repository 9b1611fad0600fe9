#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <moe/data/bpe/byte_pair_files.hpp>

namespace moe::inline MOE_ISA {

/// How special tokens such as <|endoftext|> in a text are encoded.
enum class SpecialTokens { as_text, as_tokens };

namespace detail {

/// The tables of a vocabulary. They are built once; encoding only reads them.
/// Test: tests/data/bpe_tokenizer.cpp.
class BytePairTables {
 public:
  explicit BytePairTables(BytePairVocabulary all) : vocabulary(std::move(all)) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      byte_token_[byte] = vocabulary.index.find(vocabulary.tokens, {&c, 1});
    }
    find_whole_pieces();
  }

  /// Appends the tokens of a piece. Returns their number.
  std::size_t merge_piece(std::string_view piece, PieceMerger& merger,
                          std::vector<std::int32_t>& out) const {
    const std::size_t at = out.size();
    out.resize(at + piece.size());
    for (std::size_t i = 0; i < piece.size(); ++i) {
      const std::int32_t token = byte_token_[static_cast<unsigned char>(piece[i])];
      if (token < 0) {
        throw Error("cannot encode byte ", static_cast<unsigned char>(piece[i]),
                    ": the vocabulary has no token for it; use another tokenizer");
      }
      out[at + i] = token;
    }
    const std::size_t count = merger.merge(out.data() + at, piece.size());
    out.resize(at + count);
    return count;
  }

  BytePairVocabulary vocabulary;
  PieceTable whole;  // tokens whose bytes merge to the token itself: such pieces need no merging

 private:
  void find_whole_pieces() {
    std::vector<std::int32_t> ids, merged;
    PieceMerger merger(vocabulary.pairs, vocabulary.merges);
    for (std::int32_t id = 0; id < vocabulary.tokens.size(); ++id) {
      const std::string_view bytes = vocabulary.tokens[id];
      if (vocabulary.index.find(vocabulary.tokens, bytes) != id) continue;
      bool complete = true;
      for (const char c : bytes) complete &= byte_token_[static_cast<unsigned char>(c)] >= 0;
      merged.clear();
      if (vocabulary.ignore_merges || (complete && merge_piece(bytes, merger, merged) == 1))
        ids.push_back(id);
    }
    whole = PieceTable(ids.size());
    for (const std::int32_t id : ids) whole.insert(vocabulary.tokens, id);
  }

  std::array<std::int32_t, 256> byte_token_{};
};

/// One call of encode. The output also serves as a cache: a piece of several tokens that occurred
/// before is copied from there.
class BytePairEncoder {
 public:
  BytePairEncoder(const BytePairTables& tables, std::string_view text, SpecialTokens special)
      : tables_(tables),
        tokens_(tables.vocabulary.tokens),
        special_(special),
        end_(text.data() + text.size()),
        cache_(std::bit_ceil(std::clamp<std::size_t>(text.size() / 64, 16, 1 << 14))),
        merger_(tables.vocabulary.pairs, tables.vocabulary.merges) {
    out_.reserve(text.size() / 3 + 16);
    add_split(text, false);
  }

  std::vector<std::int32_t> take() { return std::move(out_); }

 private:
  struct Known {
    ShortPiece key;
    std::size_t at = 0, count = 0;  // in the output; count 0: an empty entry
    std::string_view piece;
  };

  bool is_sought(const AddedToken& added, bool normalized) const {
    return added.normalized == normalized &&
           (!added.special || special_ == SpecialTokens::as_tokens);
  }

  /// The longest added token at the start of `text`, or -1.
  std::int32_t added_token(std::string_view text, bool normalized) const {
    std::int32_t best = -1;
    for (const AddedToken& added : tables_.vocabulary.added) {
      if (is_sought(added, normalized) && text.starts_with(tokens_[added.id]) &&
          (best < 0 || tokens_[added.id].size() > tokens_[best].size())) {
        best = added.id;
      }
    }
    return best;
  }

  /// Encodes added tokens and the text between them: first the tokens that are not `normalized`,
  /// then, in the rest, those that are.
  void add_split(std::string_view text, bool normalized) {
    std::array<bool, 256> first{};
    bool any = false;
    for (const AddedToken& added : tables_.vocabulary.added) {
      if (is_sought(added, normalized))
        first[static_cast<unsigned char>(tokens_[added.id][0])] = any = true;
    }
    const auto add_rest = [&](std::string_view part) {
      normalized ? add_text(part) : add_split(part, true);
    };
    std::size_t begin = 0;
    for (std::size_t at = 0; any && at < text.size();) {
      const bool may_begin = first[static_cast<unsigned char>(text[at])];
      const std::int32_t token = may_begin ? added_token(text.substr(at), normalized) : -1;
      if (token < 0) {
        ++at;
        continue;
      }
      add_rest(text.substr(begin, at - begin));
      out_.push_back(token);
      at += tokens_[token].size();
      begin = at;
    }
    add_rest(text.substr(begin));
  }

  void add_text(std::string_view text) {
    const PreTokenizer kind = tables_.vocabulary.pre_tokenizer;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t next = next_piece(text, at, kind);
      add_piece(text.substr(at, next - at));
      at = next;
    }
  }

  void add_piece(std::string_view piece) {
    const bool is_short = piece.size() <= ShortPiece::max_size;
    const bool has_room = end_ - piece.data() >= 16;
    const ShortPiece key =
        is_short && has_room ? ShortPiece(piece.data(), piece.size()) : PieceTable::key_of(piece);
    const std::int32_t token =
        is_short ? tables_.whole.find(key) : tables_.whole.find(tokens_, key, piece);
    if (token >= 0) return out_.push_back(token);
    Known& known = cache_[key.hash() >> 7 & (cache_.size() - 1)];
    const std::size_t at = out_.size();
    if (known.count > 0 && known.key == key && (is_short || known.piece == piece)) {
      out_.resize(at + known.count);
      std::copy_n(out_.data() + known.at, known.count, out_.data() + at);
      return;
    }
    known = {key, at, tables_.merge_piece(piece, merger_, out_), piece};
  }

  const BytePairTables& tables_;
  const TokenStrings& tokens_;
  SpecialTokens special_;
  const char* end_;
  std::vector<std::int32_t> out_;
  std::vector<Known> cache_;
  PieceMerger merger_;
};

}  // namespace detail

}  // namespace moe
