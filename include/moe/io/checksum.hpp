#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <moe/core/isa.hpp>
#include <string>
#include <string_view>

namespace moe::inline MOE_ISA {

static_assert(std::endian::native == std::endian::little,
              "moe: checksums and file formats are written for little-endian machines");

/// 16 lower-case hexadecimal digits.
inline std::string hex(std::uint64_t value) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

namespace detail {

template <class Word>
Word load_word(const std::uint8_t* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// Adds one block of 64 bytes to the state of SHA-256.
inline void sha256_block(std::array<std::uint32_t, 8>& state, const std::uint8_t* block) {
  static constexpr std::uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
      0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
      0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
      0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
      0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
      0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
      0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
      0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
      0xc67178f2};
  std::uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    const std::uint8_t* p = block + 4 * i;
    w[i] = static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
           static_cast<std::uint32_t>(p[2]) << 8 | p[3];
  }
  for (int i = 16; i < 64; ++i) {
    const std::uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int i = 0; i < 64; ++i) {
    const std::uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                             ((e & f) ^ (~e & g)) + k[i] + w[i];
    const std::uint32_t t2 =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::uint32_t add[8] = {a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < 8; ++i) state[i] += add[i];
}

/// The change that each byte makes to a CRC-32C (reflected polynomial).
inline constexpr auto crc32c_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
    table[byte] = crc;
  }
  return table;
}();

}  // namespace detail

/// SHA-256 as 64 hexadecimal digits, for checking downloads.
/// Source: FIPS 180-4.  Test: tests/io/checksum.cpp.
inline std::string sha256(std::string_view bytes) {
  std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const std::size_t whole = bytes.size() / 64 * 64, rest = bytes.size() - whole;
  for (std::size_t i = 0; i < whole; i += 64) detail::sha256_block(state, data + i);
  std::uint8_t tail[128] = {};
  if (rest > 0) std::memcpy(tail, data + whole, rest);
  tail[rest] = 0x80;
  const std::size_t blocks = rest < 56 ? 1 : 2;
  const std::uint64_t bits = static_cast<std::uint64_t>(bytes.size()) * 8;
  for (std::size_t i = 0; i < 8; ++i) {
    tail[64 * blocks - 1 - i] = static_cast<std::uint8_t>(bits >> (8 * i));
  }
  for (std::size_t i = 0; i < blocks; ++i) detail::sha256_block(state, tail + 64 * i);
  std::string text;
  for (const std::uint32_t word : state) text += hex(word).substr(8);
  return text;
}

/// XXH64: a fast checksum that detects damaged tensors (it does not protect against forgery). Bytes
/// may be added in pieces of any size.
/// Source: xxHash specification, doc/xxhash_spec.md 0.1.1.  Test: tests/io/checksum.cpp.
///
///     moe::Xxh64 hash;
///     hash.add(bytes, size);
///     moe::hex(hash.value());
class Xxh64 {
 public:
  explicit Xxh64(std::uint64_t seed = 0)
      : lanes_{seed + p1 + p2, seed + p2, seed, seed - p1}, seed_(seed) {}

  void add(const void* bytes, std::size_t size) {
    const auto* at = static_cast<const std::uint8_t*>(bytes);
    total_ += size;
    if (waiting_ > 0) {
      const std::size_t more = std::min(size, block - waiting_);
      std::memcpy(rest_ + waiting_, at, more);
      waiting_ += more, at += more, size -= more;
      if (waiting_ < block) return;
      stripe(rest_);
      waiting_ = 0;
    }
    for (; size >= block; at += block, size -= block) stripe(at);
    if (size > 0) std::memcpy(rest_, at, size);
    waiting_ = size;
  }

  /// The checksum of all bytes so far.
  std::uint64_t value() const {
    std::uint64_t hash = seed_ + p5;
    if (total_ >= block) {
      hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
             std::rotl(lanes_[3], 18);
      for (const std::uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * p1 + p4;
    }
    hash += total_;
    const std::uint8_t* at = rest_;
    std::size_t left = waiting_;
    for (; left >= 8; at += 8, left -= 8)
      hash = std::rotl(hash ^ round(0, detail::load_word<std::uint64_t>(at)), 27) * p1 + p4;
    if (left >= 4) {
      hash = std::rotl(hash ^ detail::load_word<std::uint32_t>(at) * p1, 23) * p2 + p3;
      at += 4, left -= 4;
    }
    for (; left > 0; ++at, --left) hash = std::rotl(hash ^ *at * p5, 11) * p1;
    hash = (hash ^ hash >> 33) * p2;
    hash = (hash ^ hash >> 29) * p3;
    return hash ^ hash >> 32;
  }

 private:
  static constexpr std::size_t block = 32;
  static constexpr std::uint64_t p1 = 0x9E3779B185EBCA87, p2 = 0xC2B2AE3D27D4EB4F,
                                 p3 = 0x165667B19E3779F9, p4 = 0x85EBCA77C2B2AE63,
                                 p5 = 0x27D4EB2F165667C5;
  static std::uint64_t round(std::uint64_t lane, std::uint64_t word) {
    return std::rotl(lane + word * p2, 31) * p1;
  }
  void stripe(const std::uint8_t* at) {
    for (std::size_t i = 0; i < 4; ++i)
      lanes_[i] = round(lanes_[i], detail::load_word<std::uint64_t>(at + 8 * i));
  }

  std::uint64_t lanes_[4], seed_, total_ = 0;
  std::uint8_t rest_[block] = {};
  std::size_t waiting_ = 0;
};

inline std::uint64_t xxh64(const void* bytes, std::size_t size, std::uint64_t seed = 0) {
  Xxh64 hash(seed);
  hash.add(bytes, size);
  return hash.value();
}

/// CRC-32C (Castagnoli), the checksum in the records of TensorBoard and TFRecord files.
/// Source: RFC 3720, 12.1 and B.4.  Test: tests/io/checksum.cpp.
constexpr std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    crc = detail::crc32c_table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xFF] ^ crc >> 8;
  }
  return ~crc;
}

}  // namespace moe
