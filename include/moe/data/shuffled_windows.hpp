#pragma once
#include <algorithm>
#include <bit>
#include <moe/data/token_file.hpp>
#include <moe/data/windows.hpp>
#include <span>

namespace moe::inline MOE_ISA {

/// The `index`-th number of a random permutation of 0 ... count - 1, with a different permutation
/// for every epoch. It is computed, not stored: a Feistel network of six rounds, applied until the
/// result is below count (cycle walking).
/// Source: Black and Rogaway 2002, doi:10.1007/3-540-45760-7_9.
/// Test: tests/data/shuffled_windows.cpp.
inline std::uint64_t shuffled(std::uint64_t index, std::uint64_t count, std::uint64_t seed,
                              std::uint64_t epoch) {
  MOE_EXPECTS(index < count, index, " of ", count, " asked");
  const int half = (static_cast<int>(std::bit_width(count - 1)) + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  // RandomWindows has the stream of batches with layer 0; these are other numbers.
  const std::uint64_t numbers = stream(epoch, 1, RandomStream::batch);
  do {
    std::uint64_t left = index >> half, right = index & mask;
    for (std::uint64_t round = 0; round < 6; ++round) {
      const std::uint64_t mixed = philox(seed, numbers, round << 32 | right)[0] & mask;
      left = std::exchange(right, left ^ mixed);
    }
    index = left << half | right;
  } while (index >= count);
  return index;
}

/// Windows of length + 1 tokens, which start at the multiples of length, in random order without
/// replacement: every window once per epoch, in another order each epoch. A window is a function of
/// (seed, position), so a resumed run needs to know only the position or the step.
///
///     moe::ShuffledWindows windows(train, 16, 256, seed);
///     const moe::Batch batch = windows.sample(step);
///
/// The tokens must outlive this object. A batch is valid until the next one is drawn.
/// Errors: moe::Error for sizes below 1, or fewer than length + 1 tokens.  Test:
/// tests/data/shuffled_windows.cpp.
class ShuffledWindows {
 public:
  /// `per_step`: sequences in a step, if a step has more than one batch (ranks, accumulation).
  ShuffledWindows(const TokenFile& tokens, int sequences, int length, std::uint64_t seed,
                  int per_step = 0)
      : ShuffledWindows(&tokens, {}, tokens.size(), sequences, length, seed, per_step) {}
  ShuffledWindows(std::span<const std::int32_t> tokens, int sequences, int length,
                  std::uint64_t seed, int per_step = 0)
      : ShuffledWindows(nullptr, tokens, tokens.size(), sequences, length, seed, per_step) {}

  /// The number of windows in an epoch.
  std::uint64_t windows() const { return windows_; }
  /// The first token of the window number `position`, counted over all epochs.
  std::uint64_t start(std::uint64_t position) const {
    return shuffled(position % windows_, windows_, seed_, position / windows_) *
           static_cast<std::uint64_t>(length_);
  }

  /// The batch of a step. `first` is the number of its first sequence, as in RandomWindows. Never
  /// allocates.
  Batch sample(std::int64_t step, int first = 0) {
    return at(static_cast<std::uint64_t>(step) * static_cast<std::uint64_t>(per_step_) +
              static_cast<std::uint64_t>(first));
  }
  /// The batch that starts with window number `position`.
  Batch at(std::uint64_t position) {
    const auto length = static_cast<std::size_t>(length_);
    for (std::size_t s = 0; s < static_cast<std::size_t>(sequences_); ++s) {
      const auto from = static_cast<std::size_t>(start(position + s));
      copy(from, std::span(tokens_).subspan(s * length, length));
      copy(from + 1, std::span(targets_).subspan(s * length, length));
    }
    return {tokens_.data(), targets_.data(), sequences_, length_};
  }

 private:
  ShuffledWindows(const TokenFile* file, std::span<const std::int32_t> text, std::size_t count,
                  int sequences, int length, std::uint64_t seed, int per_step)
      : file_(file), text_(text), sequences_(sequences), length_(length), seed_(seed) {
    detail::require_windows(count, sequences, length);
    if (per_step != 0 && per_step < sequences) {
      throw Error("cannot draw batches of ", sequences, " sequences where a step has ", per_step,
                  ": they would overlap; give the sequences of all batches of a step");
    }
    per_step_ = per_step == 0 ? sequences : per_step;
    windows_ = (count - 1) / static_cast<std::size_t>(length);
    const auto size = static_cast<std::size_t>(sequences) * static_cast<std::size_t>(length);
    tokens_.resize(size);
    targets_.resize(size);
  }

  void copy(std::size_t first, std::span<std::int32_t> to) const {
    if (file_ != nullptr) return file_->copy(first, to);
    std::copy_n(text_.begin() + static_cast<std::ptrdiff_t>(first), to.size(), to.begin());
  }

  const TokenFile* file_;
  std::span<const std::int32_t> text_;
  int sequences_, length_, per_step_ = 0;
  std::uint64_t seed_, windows_ = 0;
  std::vector<std::int32_t> tokens_, targets_;
};

}  // namespace moe
