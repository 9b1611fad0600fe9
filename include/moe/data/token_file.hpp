#pragma once
#include <dirent.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <moe/core/check_option.hpp>
#include <moe/io/checksum.hpp>
#include <moe/io/memory_map.hpp>
#include <span>

namespace moe::inline MOE_ISA {

struct TokenFileOptions {
  /// If above 0, every token must be below it, and the checksum must be right if the file has one.
  /// 0: no check.
  int vocab = 0;
  /// If true, a file without llm.c's header is accepted as nanoGPT's format: plain uint16 tokens.
  bool headerless = false;
};

namespace detail {

/// The header of llm.c's token files: 256 words. The first three have a meaning; the next three
/// hold our mark and the XXH64 of the tokens, if write_token_file wrote the file.
using TokenHeader = std::array<std::uint32_t, 256>;
inline constexpr std::uint32_t token_magic = 20240520, token_version = 1;
inline constexpr std::uint32_t wide_token_magic = 20240801, wide_token_version = 7;
inline constexpr std::uint32_t checksum_mark = 0x656F6D;  // "moe"

/// The tokens of one file, or of a vector.
class TokenShard {
 public:
  explicit TokenShard(std::vector<std::int32_t> tokens)
      : own_(std::move(tokens)), width_(4), count_(own_.size()) {}

  TokenShard(const std::string& path, const TokenFileOptions& options)
      : file_(checked(path, options)) {
    const std::string_view bytes = file_.bytes();
    TokenHeader header{};
    if (!bytes.empty())
      std::memcpy(header.data(), bytes.data(), std::min(bytes.size(), sizeof header));
    const bool narrow = header[0] == token_magic, wide = header[0] == wide_token_magic;
    const auto fail = [&](const std::string& why, const char* hint) {
      throw Error("cannot use '", path, "' as tokens: ", why, "; ", hint);
    };
    if (!narrow && !wide && !options.headerless) {
      fail("it does not begin with llm.c's number 20240520 or 20240801",
           "set TokenFileOptions.headerless for nanoGPT's files");
    }
    width_ = wide ? 4 : 2;
    if (narrow || wide) {
      begin_ = sizeof header;
      if (const std::uint32_t version = wide ? wide_token_version : token_version;
          header[1] != version) {
        fail("it has version " + std::to_string(header[1]) + " where " + std::to_string(version) +
                 " is known",
             "write it anew");
      }
      count_ = header[2];
      if (bytes.size() != begin_ + count_ * width_ || count_ > INT_MAX) {
        fail("it has " + std::to_string(bytes.size()) + " bytes where its header of " +
                 std::to_string(header[2]) + " tokens asks for " +
                 std::to_string(begin_ + count_ * width_),
             "it was cut off or damaged, copy or write it again");
      }
    } else {
      count_ = bytes.size() / 2;
      if (bytes.size() % 2 != 0)
        fail("it has an odd number of bytes", "give a file of 16-bit tokens");
    }
    const std::uint32_t largest_token = largest();
    if (options.vocab > 0 && largest_token >= static_cast<std::uint32_t>(options.vocab) &&
        count_ > 0) {
      fail("it holds token " + std::to_string(largest_token) + " where the vocabulary has " +
               std::to_string(options.vocab),
           "use the tokenizer that it was made with");
    }
    if (largest_token > INT_MAX)
      fail("it holds token " + std::to_string(largest_token), "the file is damaged");
    const std::uint64_t sum = static_cast<std::uint64_t>(header[5]) << 32 | header[4];
    if (begin_ > 0 && options.vocab > 0 && header[3] == checksum_mark &&
        sum != xxh64(bytes.data() + begin_, bytes.size() - begin_)) {
      fail("its tokens do not have the checksum of its header",
           "the file is damaged, copy or write it again");
    }
  }

  std::size_t size() const { return count_; }

  void copy(std::size_t first, std::span<std::int32_t> to) const {
    if (width_ == 2) {
      copy_as<std::uint16_t>(first, to);
    } else {
      copy_as<std::int32_t>(first, to);
    }
  }

 private:
  static const std::string& checked(const std::string& path, const TokenFileOptions& options) {
    OptionCheck{"read tokens", "TokenFileOptions"}.at_least("vocab", options.vocab, 0);
    return path;
  }
  /// The mapping begins at a page and the header has 1024 bytes, so the tokens are aligned.
  const char* data() const {
    return own_.empty() ? file_.bytes().data() + begin_
                        : reinterpret_cast<const char*>(own_.data());
  }
  template <class T>
  void copy_as(std::size_t first, std::span<std::int32_t> to) const {
    const T* from = reinterpret_cast<const T*>(data()) + first;
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::int32_t>(from[i]);
  }
  template <class T>
  std::uint32_t largest_of() const {
    const T* from = reinterpret_cast<const T*>(data());
    T max = 0;
    for (std::size_t i = 0; i < count_; ++i) max = std::max(max, from[i]);
    return max;
  }
  std::uint32_t largest() const {
    return width_ == 2 ? largest_of<std::uint16_t>() : largest_of<std::uint32_t>();
  }

  MemoryMap file_;
  std::vector<std::int32_t> own_;
  std::size_t begin_ = 0, width_ = 0, count_ = 0;
};

}  // namespace detail

/// Tokens in memory-mapped files of llm.c (uint16, or uint32 for Llama 3; the first word of the
/// file tells) or of nanoGPT. Several files (shards) form one sequence, in the given order.
///
///     const moe::TokenFile train(moe::token_shards("fineweb10B", "train"), {.vocab = 50257});
///     train.copy(position, window);
///
/// Errors: moe::Error for files that are missing, truncated or of another kind, or with tokens
/// outside of the vocabulary.  Source: karpathy/llm.c f1e2ace, llmc/dataloader.h.
/// Test: tests/data/token_file.cpp.
class TokenFile {
 public:
  static constexpr std::size_t all = SIZE_MAX;

  explicit TokenFile(const std::string& path, const TokenFileOptions& options = {})
      : TokenFile(std::vector<std::string>{path}, options) {}
  explicit TokenFile(const std::vector<std::string>& paths, const TokenFileOptions& options = {}) {
    shards_.reserve(paths.size());
    for (const std::string& path : paths) add(detail::TokenShard(path, options));
  }
  /// Tokens that are already in memory.
  explicit TokenFile(std::vector<std::int32_t> tokens) {
    add(detail::TokenShard(std::move(tokens)));
  }

  /// The number of tokens in all shards together.
  std::size_t size() const { return ends_.empty() ? 0 : ends_.back(); }

  /// Fills `to` with the tokens that start at `first`.
  void copy(std::size_t first, std::span<std::int32_t> to) const {
    MOE_EXPECTS(first <= size() && to.size() <= size() - first, to.size(), " tokens from ", first,
                " of ", size(), " asked");
    const auto shard = std::upper_bound(ends_.begin(), ends_.end(), first);
    for (auto i = static_cast<std::size_t>(shard - ends_.begin()); !to.empty(); ++i) {
      const std::size_t part = std::min(to.size(), ends_[i] - first);
      shards_[i].copy(first - (ends_[i] - shards_[i].size()), to.first(part));
      first += part;
      to = to.subspan(part);
    }
  }

  /// At most `count` tokens, starting at `first`.
  std::vector<std::int32_t> tokens(std::size_t first = 0, std::size_t count = all) const {
    const std::size_t from = std::min(first, size());
    std::vector<std::int32_t> out(std::min(count, size() - from));
    copy(from, out);
    return out;
  }

 private:
  void add(detail::TokenShard shard) {
    ends_.push_back(size() + shard.size());
    shards_.push_back(std::move(shard));
  }

  std::vector<detail::TokenShard> shards_;
  std::vector<std::size_t> ends_;
};

/// The files of a folder whose names begin with `prefix` and end with .bin, sorted by name.
/// Errors: moe::Error for a folder that cannot be read or has no such file.
inline std::vector<std::string> token_shards(const std::string& folder,
                                             std::string_view prefix = {}) {
  DIR* opened = ::opendir(folder.c_str());
  if (opened == nullptr) detail::file_failed("read folder", folder, errno);
  std::vector<std::string> found;
  while (const dirent* entry = ::readdir(opened)) {
    const std::string_view name = entry->d_name;
    if (name.starts_with(prefix) && name.ends_with(".bin"))
      found.push_back(folder + "/" + std::string(name));
  }
  ::closedir(opened);
  if (found.empty()) {
    throw Error("cannot find tokens in '", folder, "': it has no file '", prefix,
                "*.bin'; give the folder of the token files");
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// Writes llm.c's format, all or nothing: uint16 if every token is below 65536, else the uint32
/// format of Llama 3. Words 3 to 5 of the header, which llm.c does not read, hold a checksum.
/// Errors: moe::Error for negative tokens, for 2^31 tokens or more, and as replace_file.
inline void write_token_file(const std::string& path, std::span<const std::int32_t> tokens) {
  const auto fail = [&](const std::string& why) {
    throw Error("cannot write tokens to '", path, "': ", why);
  };
  if (tokens.size() > INT_MAX) {
    fail(std::to_string(tokens.size()) +
         " of them are more than a file can count; cut them into several files");
  }
  bool wide = false;
  for (const std::int32_t token : tokens) {
    if (token < 0) fail("token " + std::to_string(token) + " is negative; correct the tokens");
    wide |= token > 0xFFFF;
  }
  const std::vector<std::uint16_t> narrow(tokens.begin(), wide ? tokens.begin() : tokens.end());
  const auto* data = wide ? reinterpret_cast<const char*>(tokens.data())
                          : reinterpret_cast<const char*>(narrow.data());
  const std::size_t bytes = tokens.size() * (wide ? 4 : 2);
  const std::uint64_t sum = xxh64(data, bytes);
  detail::TokenHeader header{};
  header[0] = wide ? detail::wide_token_magic : detail::token_magic;
  header[1] = wide ? detail::wide_token_version : detail::token_version;
  header[2] = static_cast<std::uint32_t>(tokens.size());
  header[3] = detail::checksum_mark;
  header[4] = static_cast<std::uint32_t>(sum);
  header[5] = static_cast<std::uint32_t>(sum >> 32);
  replace_file(path, [&](FileWriter& file) {
    file.write(header.data(), sizeof header);
    file.write(data, bytes);
  });
}

}  // namespace moe
