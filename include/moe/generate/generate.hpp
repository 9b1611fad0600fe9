#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <moe/data/tokenizer.hpp>
#include <moe/generate/generator.hpp>
#include <moe/generate/sampling.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe::inline MOE_ISA {

namespace detail {

/// The loop of generation: feed(tokens) returns the logits of the next token.
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
    throw Error("cannot generate from a prompt of ", prompt.size(),
                " tokens: the context of the model is ", Model::config.context,
                "; give the end of the prompt only");
  std::vector<std::int32_t> tokens;
  tokens.reserve(std::min(std::size_t(options.tokens), std::size_t(Model::config.context)));
  std::span<const std::int32_t> unread = prompt;
  for (std::size_t i = 0; i < std::size_t(options.tokens); ++i) {
    tokens.push_back(sample_token(feed(unread), options, i));
    if (on_token) on_token(tokens.back());
    unread = {&tokens.back(), 1};
  }
  return tokens;
}

}  // namespace detail

/// Generates `options.tokens` tokens that follow the prompt, which is not included. on_token is
/// called with each token as soon as it is chosen. Dropout and router noise are off; the model's
/// parameters do not change.
/// Errors: moe::Error for a prompt that is empty or longer than the context, a token outside of the
/// vocabulary, invalid options, or logits that are not finite.  Test: tests/generate/generate.cpp.
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

/// Generates the text that follows the prompt, which is not included. on_text is called with the
/// text of each token at once. If the model has more tokens than the vocabulary, the others are
/// never generated.
///
///     moe::generate(model, vocabulary, "ROMEO:", {.tokens = 500, .temperature = 0.8, .top_k = 40},
///                   [](std::string_view text) { std::fputs(std::string(text).c_str(), stdout); });
///
/// Errors: those of generate_tokens; moe::Error for a prompt that the vocabulary cannot encode.
template <class Model, Tokenizer Tokens>
std::string generate(Model& model, const Tokens& tokenizer, std::string_view prompt,
                     SampleOptions options = {},
                     const std::function<void(std::string_view)>& on_text = {}) {
  options.vocab = options.vocab == 0 ? tokenizer.size() : std::min(options.vocab, tokenizer.size());
  std::string text;
  generate_tokens(model, tokenizer.encode(prompt), options, [&](std::int32_t token) {
    const std::string piece = tokenizer.decode(std::vector<std::int32_t>{token});
    if (on_text) on_text(piece);
    text += piece;
  });
  return text;
}

/// The same for models of bytes.
///
///     std::puts(moe::generate(model, "Once upon a time", {.tokens = 200}).c_str());
template <class Model>
std::string generate(Model& model, std::string_view prompt, const SampleOptions& options = {},
                     const std::function<void(std::string_view)>& on_text = {}) {
  static_assert(Model::config.vocab == 256,
                "moe: generate(model, prompt) reads bytes and needs ModelConfig.vocab = 256; give "
                "the vocabulary of the text as second argument");
  return generate(model, ByteTokenizer{}, prompt, options, on_text);
}

}  // namespace moe