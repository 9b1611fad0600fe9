#pragma once
#include <algorithm>
#include <array>
#include <concepts>
#include <functional>
#include <moe/core/error.hpp>
#include <moe/core/in_use.hpp>
#include <moe/generate/sampling.hpp>
#include <moe/layers/attention.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

namespace detail {

/// What stays of a full window before the next token joins it. See Generator.
constexpr int kept_tokens(int context) {
  return std::max(1, context / 2) - 1;
}

template <class Model>
void check_token(std::int32_t token) {
  if (token < 0 || token >= Model::config.vocab)
    throw Error("cannot continue from token " + std::to_string(token) + ": the model has " +
                std::to_string(Model::config.vocab) +
                "; encode the text with the vocabulary that it was trained with");
}

}  // namespace detail

/// Reads tokens and gives the logits of what follows, each token once: keys and values of earlier
/// tokens are kept. It owns that memory and allocates next to nothing after construction.
/// The window: when it holds `context` tokens and another comes, only the last context / 2 tokens
/// (at least one), the new one among them, stay; they are read again from position 0.
/// Sequences of one generator are equally long. The model must outlive the generator, and the
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

  /// Reads n tokens of each sequence, (sequences, n); gives the logits (sequences, vocab) after the
  /// last, valid until the next feed. In pieces or at once: the same logits.
  /// Errors: a token outside the vocabulary, another thread in the model; nothing has changed then.
  std::span<const W> feed(std::span<const std::int32_t> tokens) {
    const auto in_use = detail::hold(*model_);
    const std::size_t length = tokens.size() / std::size_t(sequences_);
    MOE_EXPECTS(length >= 1 && tokens.size() % std::size_t(sequences_) == 0,
                std::to_string(tokens.size()) + " tokens are no batch of " +
                    std::to_string(sequences_) + " sequences");
    for (const std::int32_t token : tokens) detail::check_token<Model>(token);
    for (std::size_t i = 0; i < length; ++i) {
      make_room();
      for (std::size_t s = 0; s < std::size_t(sequences_); ++s)
        window_.push_back(tokens[s * length + i]);
    }
    return read();
  }

  /// Forgets everything.
  void clear() {
    window_.clear();
    stored_ = 0;
  }

  int sequences() const { return sequences_; }
  /// Tokens of each sequence in the window.
  int length() const { return int(window_.size()) / sequences_; }
  /// Bytes of keys and values.
  static constexpr std::size_t bytes(int sequences = 1) {
    return 2 * Model::config.layers * numbers(sequences) * sizeof(T);
  }

 private:
  static constexpr std::size_t numbers(int sequences) {
    return std::size_t(sequences) * context * Model::config.key_heads() * Model::config.head_dim();
  }
  std::size_t checked_bytes() const {
    const int most = model_->options().max_tokens;
    MOE_EXPECTS(sequences_ >= 1 && sequences_ <= most,
                "a generator has " + std::to_string(sequences_) +
                    " sequences, the model was built for 1 to " + std::to_string(most) + " tokens");
    return bytes(sequences_);
  }

  void make_room() {
    if (length() < context) return;
    const auto kept = std::ptrdiff_t(detail::kept_tokens(context)) * sequences_;
    window_.erase(window_.begin(), window_.end() - kept);
    stored_ = 0;
  }

  /// Passes the tokens without keys and values through the model, as many at once as it takes.
  std::span<const W> read() {
    const int most = std::min(context, model_->options().max_tokens / sequences_);
    std::span<const W> logits;
    while (stored_ < length()) {
      const int n = std::min(most, length() - stored_);
      chunk_.clear();
      for (int s = 0; s < sequences_; ++s)
        for (int i = stored_; i < stored_ + n; ++i)
          chunk_.push_back(window_[std::size_t(i) * std::size_t(sequences_) + std::size_t(s)]);
      logits = model_->next_logits(chunk_.data(), sequences_, n, stored_, past_);
      stored_ += n;
    }
    // The model's own go with its next pass, which may be that of another generator.
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
  int stored_ = 0;  // tokens of the window whose keys and values are known
};

namespace detail {

/// The loop: feed(tokens) gives logits.
template <class Model, class Feed>
std::vector<std::int32_t> continue_tokens(const std::vector<std::int32_t>& prompt,
                                          const SampleOptions& options,
                                          const std::function<void(std::int32_t)>& on_token,
                                          const Feed& feed) {
  check_options(options);
  if (prompt.empty())
    throw Error(
        "cannot generate from an empty prompt: there is nothing to continue; give at least "
        "one character, for example a line break");
  if (prompt.size() > std::size_t(Model::config.context))
    throw Error("cannot generate from a prompt of " + std::to_string(prompt.size()) +
                " tokens: the context of the model is " + std::to_string(Model::config.context) +
                "; give the end of the prompt only");
  std::vector<std::int32_t> tokens;
  tokens.reserve(std::min(std::size_t(options.tokens), std::size_t(Model::config.context)));
  std::span<const std::int32_t> unread = prompt;
  for (std::size_t i = 0; i < std::size_t(options.tokens); ++i) {
    tokens.push_back(choose(feed(unread), options, i));
    if (on_token) on_token(tokens.back());
    unread = {&tokens.back(), 1};
  }
  return tokens;
}

}  // namespace detail

/// `options.tokens` tokens that follow the prompt, without the prompt; on_token gets each one as
/// soon as it is chosen. Dropout and router noise are off; the model's parameters do not change.
/// Errors: an empty prompt, one longer than the context, a token outside the vocabulary, options
/// out of range, logits that are not finite.  Test: tests/generate/generate.cpp.
template <class Model>
std::vector<std::int32_t> generate_tokens(Model& model, const std::vector<std::int32_t>& prompt,
                                          const SampleOptions& options = {},
                                          const std::function<void(std::int32_t)>& on_token = {}) {
  const auto in_use = detail::hold(model);
  Generator<Model> generator(model);
  return detail::continue_tokens<Model>(
      prompt, options, on_token,
      [&](std::span<const std::int32_t> tokens) { return generator.feed(tokens); });
}

/// The tokens of generate_tokens, the slow way: every step is a forward pass over the whole window.
/// For checking and measuring. The model must be built for max_tokens >= context.
template <class Model>
std::vector<std::int32_t> generate_tokens_without_cache(
    Model& model, const std::vector<std::int32_t>& prompt, const SampleOptions& options = {},
    const std::function<void(std::int32_t)>& on_token = {}) {
  constexpr std::size_t context = Model::config.context, vocab = Model::config.vocab;
  const auto in_use = detail::hold(model);
  std::vector<std::int32_t> window;
  std::vector<typename Model::W> logits;
  return detail::continue_tokens<Model>(
      prompt, options, on_token, [&](std::span<const std::int32_t> tokens) {
        for (const std::int32_t token : tokens) {
          detail::check_token<Model>(token);
          if (window.size() == context)
            window.erase(window.begin(), window.end() - detail::kept_tokens(context));
          window.push_back(token);
        }
        model.forward({window.data(), nullptr, 1, int(window.size())}, false);
        logits = model.logits();
        return std::span<const typename Model::W>(logits).last(vocab);
      });
}

/// Turns text into tokens and back: CharVocabulary, ByteVocabulary.
template <class V>
concept TextVocabulary = requires(const V& vocabulary, std::string_view text,
                                  const std::vector<std::int32_t>& tokens) {
  { vocabulary.size() } -> std::convertible_to<int>;
  { vocabulary.encode(text) } -> std::convertible_to<std::vector<std::int32_t>>;
  { vocabulary.decode(tokens) } -> std::convertible_to<std::string>;
};

/// Token = byte.
struct ByteVocabulary {
  int size() const { return 256; }
  std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> tokens;
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string decode(const std::vector<std::int32_t>& tokens) const {
    std::string text;
    for (const std::int32_t token : tokens) text.push_back(char(token));
    return text;
  }
};

/// The text that follows the prompt, without the prompt; on_text gets each token's text at once.
/// Where the model was compiled for more tokens than the vocabulary has, the others never come.
///
///     moe::generate(model, vocabulary, "ROMEO:", {.tokens = 500, .temperature = 0.8, .top_k = 40},
///                   [](std::string_view text) { std::fputs(std::string(text).c_str(), stdout); });
///
/// Errors: those of generate_tokens; a prompt that the vocabulary cannot encode.
template <class Model, TextVocabulary Vocabulary>
std::string generate(Model& model, const Vocabulary& vocabulary, std::string_view prompt,
                     SampleOptions options = {},
                     const std::function<void(std::string_view)>& on_text = {}) {
  options.vocab =
      options.vocab == 0 ? vocabulary.size() : std::min(options.vocab, vocabulary.size());
  std::string text;
  generate_tokens(model, vocabulary.encode(prompt), options, [&](std::int32_t token) {
    const std::string piece = vocabulary.decode(std::vector<std::int32_t>{token});
    if (on_text) on_text(piece);
    text += piece;
  });
  return text;
}

/// For models of bytes.
///
///     std::puts(moe::generate(model, "Once upon a time", {.tokens = 200}).c_str());
template <class Model>
std::string generate(Model& model, std::string_view prompt, const SampleOptions& options = {},
                     const std::function<void(std::string_view)>& on_text = {}) {
  static_assert(Model::config.vocab == 256,
                "moe: generate(model, prompt) reads bytes and needs ModelConfig.vocab = 256; give "
                "the vocabulary of the text as second argument");
  return generate(model, ByteVocabulary{}, prompt, options, on_text);
}

}  // namespace moe
