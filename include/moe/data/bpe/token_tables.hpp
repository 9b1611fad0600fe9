#pragma once
#include <algorithm>
#include <bit>
#include <cstring>
#include <moe/io/checksum.hpp>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// The byte strings of tokens 0, 1, 2, ..., stored contiguously.
class TokenStrings {
 public:
  int size() const { return static_cast<int>(end_.size()); }
  std::string_view operator[](int token) const {
    const std::size_t i = static_cast<std::size_t>(token), begin = i == 0 ? 0 : end_[i - 1];
    return std::string_view(bytes_).substr(begin, end_[i] - begin);
  }
  void reserve(std::size_t tokens, std::size_t bytes) {
    end_.reserve(tokens);
    bytes_.reserve(bytes);
  }
  void push_back(std::string_view token) {
    bytes_ += token;
    end_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> end_;  // 32 bits suffice: vocabulary files are below 4 GiB
};

/// The number of slots of an open-addressing table with `count` entries: a power of two, at most
/// half full.
inline std::size_t slots_for(std::size_t count) {
  return std::bit_ceil(std::max<std::size_t>(2 * count, 16));
}

/// A hash table from byte string to token. It uses little memory, because it does not copy the
/// strings.
class TokenIndex {
 public:
  TokenIndex() : TokenIndex(0) {}
  explicit TokenIndex(std::size_t count) : slots_(slots_for(count), -1) {}

  /// Adds `token`. Returns -1, or the token that already has these bytes, which is kept.
  std::int32_t insert(const TokenStrings& tokens, std::int32_t token) {
    std::int32_t& slot = slots_[find_slot(tokens, tokens[token])];
    if (slot >= 0) return slot;
    slot = token;
    return -1;
  }
  std::int32_t find(const TokenStrings& tokens, std::string_view bytes) const {
    return slots_[find_slot(tokens, bytes)];
  }

 private:
  std::size_t find_slot(const TokenStrings& tokens, std::string_view bytes) const {
    std::size_t at = xxh64(bytes.data(), bytes.size()) & (slots_.size() - 1);
    while (slots_[at] >= 0 && tokens[slots_[at]] != bytes) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  std::vector<std::int32_t> slots_;
};

/// A string of at most 15 bytes and its length in two words, so that comparing needs no loop.
struct ShortPiece {
  static constexpr std::size_t max_size = 15;
  std::uint64_t low = 0, high = 0;

  ShortPiece() = default;
  explicit ShortPiece(std::string_view piece) {
    std::memcpy(&low, piece.data(), std::min<std::size_t>(piece.size(), 8));
    if (piece.size() > 8) std::memcpy(&high, piece.data() + 8, piece.size() - 8);
    high |= static_cast<std::uint64_t>(piece.size()) << 56;
  }
  /// The same for a piece of `size` bytes at the start of 16 readable bytes.
  ShortPiece(const char* piece, std::size_t size) {
    std::memcpy(&low, piece, 8);
    std::memcpy(&high, piece + 8, 8);
    const std::uint64_t all = ~std::uint64_t{0};
    low &= size >= 8 ? all : ~(all << 8 * size);
    high &= size > 8 ? ~(all << 8 * (size - 8)) : 0;
    high |= static_cast<std::uint64_t>(size) << 56;
  }
  bool operator==(const ShortPiece&) const = default;
  std::uint64_t hash() const {
    const std::uint64_t mixed =
        (low ^ std::rotl(high, 29) * 0x9FB21C651E98DF25) * 0x9E3779B97F4A7C15;
    return mixed ^ mixed >> 32;
  }
};

/// The pieces that are one token: the common case of encoding.
class PieceTable {
 public:
  PieceTable() : PieceTable(0) {}
  explicit PieceTable(std::size_t count) : slots_(slots_for(count)) {}

  void insert(const TokenStrings& tokens, std::int32_t token) {
    const ShortPiece key = key_of(tokens[token]);
    std::size_t at = key.hash() & (slots_.size() - 1);
    while (slots_[at].token >= 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {key, token};
  }
  /// The token of a piece of at most 15 bytes, or -1.
  std::int32_t find(const ShortPiece& piece) const {
    std::size_t at = piece.hash() & (slots_.size() - 1);
    while (slots_[at].token >= 0 && !(slots_[at].key == piece)) at = (at + 1) & (slots_.size() - 1);
    return slots_[at].token;
  }
  /// The token of a longer piece, or -1.
  std::int32_t find(const TokenStrings& tokens, const ShortPiece& key,
                    std::string_view bytes) const {
    std::size_t at = key.hash() & (slots_.size() - 1);
    while (slots_[at].token >= 0 && !(slots_[at].key == key && tokens[slots_[at].token] == bytes)) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return slots_[at].token;
  }
  /// The key of a longer piece is its hash, marked so that it equals no short key.
  static ShortPiece key_of(std::string_view bytes) {
    if (bytes.size() <= ShortPiece::max_size) return ShortPiece(bytes);
    ShortPiece key;
    key.low = xxh64(bytes.data(), bytes.size());
    key.high = ~std::uint64_t{0};
    return key;
  }

 private:
  struct Slot {
    ShortPiece key;
    std::int32_t token = -1;
  };
  std::vector<Slot> slots_;
};

}  // namespace moe::detail
