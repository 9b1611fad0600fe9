#pragma once
#include <algorithm>
#include <limits>
#include <moe/core/batch.hpp>
#include <moe/core/random.hpp>
#include <moe/io/input.hpp>
#include <span>
#include <utility>

namespace moe::inline MOE_ISA {

/// The `index`-th uniform integer in [0, bound) of (seed, stream), without bias.
/// Source: Lemire 2019, doi:10.1145/3230636, multiply-high with rejection.
inline std::uint64_t random_below(std::uint64_t bound, std::uint64_t seed, std::uint64_t stream,
                                  std::uint32_t index) {
  for (std::uint64_t attempt = 0;; ++attempt) {
    const auto words = philox(seed, stream, attempt << 32 | index);
    for (int i = 0; i < 4; i += 2) {
      const std::uint64_t bits = static_cast<std::uint64_t>(words[i + 1]) << 32 | words[i];
      const std::uint64_t high = bits >> 32, low = bits & 0xFFFFFFFF;
      const std::uint64_t bound_high = bound >> 32, bound_low = bound & 0xFFFFFFFF;
      // The upper 64 bits of bits * bound, from 32-bit halves: __int128 is not in the standard.
      const std::uint64_t middle = high * bound_low + ((low * bound_low) >> 32);
      const std::uint64_t other = low * bound_high + (middle & 0xFFFFFFFF);
      const std::uint64_t product = high * bound_high + (middle >> 32) + (other >> 32);
      if (bits * bound >= (0 - bound) % bound) return product;
    }
  }
}

namespace detail {

inline void require_windows(std::size_t tokens, int sequences, int length,
                            const std::string& name = "a text") {
  if (sequences < 1 || length < 1) {
    throw Error("cannot cut batches of ", sequences, " sequences of ", length,
                " tokens: both must be 1 or more; give other sizes");
  }
  if (sequences > std::numeric_limits<int>::max() / length) {
    throw Error("cannot cut batches of ", sequences, " sequences of ", length,
                " tokens: the tokens of a batch are counted in int; give smaller sizes");
  }
  if (tokens < static_cast<std::size_t>(length) + 1) {
    throw Error("cannot cut windows of ", length, " tokens from ", name, " of ", tokens,
                ": length + 1 tokens are needed; give a longer text or a shorter length");
  }
}

}  // namespace detail

/// Windows at random positions of the training tokens. They depend only on (seed, step, sequence),
/// on every machine, so resuming needs no stored state. Each start in [0, n - length - 1] is
/// equally likely. The tokens must outlive this object.
///
///     moe::RandomWindows windows(train, 16, 256, seed);
///     const moe::Batch batch = windows.sample(step);
///
/// Errors: moe::Error for sizes below 1, or fewer than length + 1 tokens.  Test:
/// tests/data/windows.cpp.
class RandomWindows {
 public:
  RandomWindows(std::span<const std::int32_t> tokens, int sequences, int length, std::uint64_t seed)
      : split_(tokens), sequences_(sequences), length_(length), seed_(seed) {
    detail::require_windows(tokens.size(), sequences, length);
    const std::size_t count =
        static_cast<std::size_t>(sequences) * static_cast<std::size_t>(length);
    tokens_.resize(count);
    targets_.resize(count);
  }

  /// The first token of window `sequence` of a step.
  std::size_t start(std::int64_t step, int sequence) const {
    const std::uint64_t stream =
        moe::stream(static_cast<std::uint64_t>(step), 0, RandomStream::batch);
    return random_below(split_.size() - static_cast<std::size_t>(length_), seed_, stream,
                        static_cast<std::uint32_t>(sequence));
  }

  /// The batch of a step. `first` is the number of its first sequence: rank r, or micro-batch r,
  /// passes first = r * sequences. Never allocates.
  Batch sample(std::int64_t step, int first = 0) {
    const std::size_t length = static_cast<std::size_t>(length_);
    for (int s = 0; s < sequences_; ++s) {
      const auto from = split_.begin() + static_cast<std::ptrdiff_t>(start(step, first + s));
      const std::ptrdiff_t to = static_cast<std::ptrdiff_t>(s) * length_;
      std::copy_n(from, length, tokens_.begin() + to);
      std::copy_n(from + 1, length, targets_.begin() + to);
    }
    return {tokens_.data(), targets_.data(), sequences_, length_};
  }

 private:
  std::span<const std::int32_t> split_;
  int sequences_, length_;
  std::uint64_t seed_;
  std::vector<std::int32_t> tokens_, targets_;
};

/// Disjoint windows that cover a whole split, for evaluation: every token but the first is a target
/// exactly once. Full batches come first, then one with fewer sequences, then the rest of the split
/// as one shorter sequence. Nothing is copied; the tokens must outlive this object.
///
///     for (int i = 0; i < windows.batches(); ++i) model.forward(windows.batch(i));
///
/// Errors: moe::Error for sizes below 1, or fewer than length + 1 tokens.  Test:
/// tests/data/windows.cpp.
class DisjointWindows {
 public:
  DisjointWindows(std::span<const std::int32_t> tokens, int sequences, int length)
      : split_(tokens), sequences_(sequences), length_(length) {
    detail::require_windows(tokens.size(), sequences, length);
    if (targets() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      throw Error("cannot evaluate on ", targets(),
                  " tokens: they are counted in int; give a part of them");
    }
    full_windows_ = targets() / static_cast<std::size_t>(length);
    rest_ = static_cast<int>(targets() % static_cast<std::size_t>(length));
    const std::size_t wide = static_cast<std::size_t>(sequences);
    full_batches_ = static_cast<int>((full_windows_ + wide - 1) / wide);
  }

  /// The number of targets in all batches together.
  std::size_t targets() const { return split_.size() - 1; }
  int batches() const { return full_batches_ + (rest_ > 0 ? 1 : 0); }

  Batch batch(int index) const {
    MOE_EXPECTS(index >= 0 && index < batches(), "batch ", index, " of ", batches(), " asked");
    const std::size_t first =
        static_cast<std::size_t>(index) * static_cast<std::size_t>(sequences_);
    const bool last = index == full_batches_;
    const std::size_t window = last ? full_windows_ : first;
    const std::int32_t* at = split_.data() + window * static_cast<std::size_t>(length_);
    if (last) return {at, at + 1, 1, rest_};
    const std::size_t left = full_windows_ - first;
    const int rows = static_cast<int>(std::min(left, static_cast<std::size_t>(sequences_)));
    // Adjacent windows are contiguous in the split, so they already form the rows of a batch.
    return {at, at + 1, rows, length_};
  }

 private:
  std::span<const std::int32_t> split_;
  int sequences_, length_;
  std::size_t full_windows_ = 0;
  int rest_ = 0, full_batches_ = 0;
};

/// The bytes of any file or pipe as tokens 0 to 255 (vocab 256), for programs without a vocabulary.
///
///     const moe::ByteCorpus corpus("input.txt");
///     model.forward(corpus.sample(16, 256, step));
///
/// A batch is valid until the next sample. Not safe for concurrent use by two threads.
/// Errors: as read_file; moe::Error for fewer than length + 1 bytes.  Test: tests/data/windows.cpp.
class ByteCorpus {
 public:
  explicit ByteCorpus(const std::string& path, std::uint64_t seed = 0)
      : name_(input_name(path)), seed_(seed) {
    const std::string bytes = read_input(path);
    tokens_.reserve(bytes.size());
    for (const char c : bytes) tokens_.push_back(static_cast<unsigned char>(c));
    if (tokens_.empty()) {
      throw Error("cannot use ", name_, " as text: it is empty; give another file");
    }
  }

  ByteCorpus(ByteCorpus&&) = default;
  ByteCorpus& operator=(ByteCorpus&&) = default;

  std::span<const std::int32_t> tokens() const { return tokens_; }

  Batch sample(int sequences, int length, std::int64_t step) const {
    if (windows_.empty() || sequences != sequences_ || length != length_) {
      detail::require_windows(tokens_.size(), sequences, length, name_);  // gives messages the name
      windows_.clear();
      windows_.emplace_back(tokens_, sequences, length, seed_);
      sequences_ = sequences, length_ = length;
    }
    return windows_.front().sample(step);
  }

 private:
  std::string name_;
  std::uint64_t seed_;
  std::vector<std::int32_t> tokens_;
  mutable std::vector<RandomWindows> windows_;  // none or one: made by the first sample
  mutable int sequences_ = 0, length_ = 0;
};

}  // namespace moe
