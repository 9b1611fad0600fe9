#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <moe/backend/backend.hpp>
#include <moe/core/error.hpp>
#include <moe/core/in_use.hpp>
#include <moe/layers/attention.hpp>
#include <span>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

namespace detail {

/// Tokens kept when the window is full and must slide. See Generator.
constexpr int kept_tokens(int context) {
  return std::max(1, context / 2) - 1;
}

template <class Model>
void check_token(std::int32_t token) {
  if (token < 0 || token >= Model::config.vocab)
    throw Error("cannot continue from token ", token, ": the model has ", Model::config.vocab,
                "; encode the text with the vocabulary that it was trained with");
}

}  // namespace detail

/// Reads tokens and returns the logits of the next one. Each token passes through the model once:
/// the keys and values of earlier tokens are kept, in memory that the generator owns. After
/// construction only the list of tokens and the logits of the largest batch may still grow.
/// If the window holds `context` tokens and another one comes, only the last context / 2 tokens (at
/// least one), including the new one, are kept and read again from position 0.
/// All sequences of a generator have the same length. The model must outlive the generator, and its
/// parameters must not change between two calls of feed (call clear() after an update).
/// Test: tests/generate/generate.cpp.
///
///     moe::Generator generator(model);
///     auto logits = generator.feed(prompt);             // (vocab)
///     logits = generator.feed(std::array{next_token});  // one step
template <class Model>
class Generator {
 public:
  using T = typename Model::T;  // of keys and values
  using W = typename Model::W;  // of logits
  using B = typename Model::Backend;
  static constexpr int context = Model::config.context, vocab = Model::config.vocab;

  explicit Generator(Model& model, int sequences = 1)
      : model_(&model), sequences_(sequences), memory_(model.backend(), checked_bytes()) {
    window_.reserve(std::size_t(sequences_) * context);
    chunk_.reserve(std::size_t(model.options().max_tokens));
    logits_.reserve(std::size_t(sequences_) * vocab);
    const std::size_t one = numbers(sequences_);
    T* at = reinterpret_cast<T*>(memory_.data());
    for (KeyValues<T>& layer : past_) {
      layer = {at, at + one, context};
      at += 2 * one;
    }
  }

  /// Reads n tokens of each sequence, (sequences, n). Returns the logits (sequences, vocab) after
  /// the last one, valid until the next feed. Feeding tokens in pieces or all at once gives the
  /// same logits.
  /// Expects at least one token, and as many for each sequence.
  /// Errors: moe::Error for a token outside of the vocabulary, or if another thread uses the model;
  /// nothing has changed then.
  std::span<const W> feed(std::span<const std::int32_t> tokens) {
    const auto in_use = detail::hold(*model_);
    const std::size_t length = tokens.size() / std::size_t(sequences_);
    MOE_EXPECTS(length >= 1 && tokens.size() % std::size_t(sequences_) == 0, tokens.size(),
                " tokens are no batch of ", sequences_, " sequences");
    for (const std::int32_t token : tokens) detail::check_token<Model>(token);
    for (std::size_t i = 0; i < length; ++i) {
      make_room();
      for (std::size_t s = 0; s < std::size_t(sequences_); ++s)
        window_.push_back(tokens[s * length + i]);
    }
    return read();
  }

  /// Forgets all tokens.
  void clear() {
    window_.clear();
    stored_ = 0;
  }

  int sequences() const { return sequences_; }
  /// The number of tokens of each sequence in the window.
  int length() const { return int(window_.size()) / sequences_; }
  /// The bytes of the keys and values.
  static constexpr std::size_t bytes(int sequences = 1) {
    return 2 * Model::config.layers * numbers(sequences) * sizeof(T);
  }

 private:
  static constexpr std::size_t numbers(int sequences) {
    return std::size_t(sequences) * context * Model::config.kv_heads_or_default() *
           Model::config.head_dim();
  }
  std::size_t checked_bytes() const {
    const int most = std::min(model_->options().max_tokens, Model::Network::max_sequences);
    MOE_EXPECTS(sequences_ >= 1 && sequences_ <= most, "a generator has ", sequences_,
                " sequences, the model was built for 1 to ", most);
    return bytes(sequences_);
  }

  void make_room() {
    if (length() < context) return;
    const auto kept = std::ptrdiff_t(detail::kept_tokens(context)) * sequences_;
    window_.erase(window_.begin(), window_.end() - kept);
    stored_ = 0;
  }

  /// Passes the tokens that have no keys and values yet through the model, as many at a time as it
  /// accepts.
  std::span<const W> read() {
    const int max_tokens = std::min(context, model_->options().max_tokens / sequences_);
    std::span<const W> logits;
    while (stored_ < length()) {
      const int n = std::min(max_tokens, length() - stored_);
      chunk_.clear();
      for (int s = 0; s < sequences_; ++s)
        for (int i = stored_; i < stored_ + n; ++i)
          chunk_.push_back(window_[std::size_t(i) * std::size_t(sequences_) + std::size_t(s)]);
      logits = model_->next_logits(chunk_.data(), sequences_, n, stored_, past_);
      stored_ += n;
    }
    // A copy, because the model's next pass overwrites its logits, and another generator may run
    // it.
    logits_.assign(logits.begin(), logits.end());
    return logits_;
  }

  Model* model_;
  int sequences_;
  Arena<B> memory_;
  std::array<KeyValues<T>, std::size_t(Model::config.layers)> past_;
  std::vector<std::int32_t> window_;  // (length, sequences)
  std::vector<std::int32_t> chunk_;
  std::vector<W> logits_;
  int stored_ = 0;  // tokens of the window whose keys and values are stored
};

}  // namespace moe
