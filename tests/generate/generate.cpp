#include <limits>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/transformer.hpp>

#include "catch.hpp"
#include "messages.hpp"

namespace {

using namespace moe;
using test::message_of;

/// Generates the same tokens as generate_tokens without a key-value cache: each step is a forward
/// pass over the whole window. For tests and measurements. The model's max_tokens must be at least
/// context.
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
using Tokens = std::vector<std::int32_t>;

constexpr ModelConfig grouped{.vocab = 13,
                              .dim = 16,
                              .layers = 2,
                              .heads = 4,
                              .kv_heads = 2,
                              .hidden = 24,
                              .context = 11,
                              .moe = {.experts = 4, .top_k = 2, .hidden = 12}};
constexpr ModelConfig with(ModelConfig c, auto change) {
  change(c);
  return c;
}
constexpr ModelConfig gpt = with(grouped, [](ModelConfig& c) {
  c.kv_heads = 0;
  c.tied = false;
  c.bias = true;
  c.scale_embedding = true;
  c.norm = Norm::layer;
  c.position = Position::learned;
  c.activation = Activation::gelu;
  c.moe = {};
});
constexpr ModelConfig interleaved = with(grouped, [](ModelConfig& c) {
  c.kv_heads = 1;
  c.position = Position::rope_interleaved;
  c.qk_norm = true;
  c.moe.every = 2;
  c.moe.shared_experts = 1;
  c.moe.scoring = Scoring::sigmoid;
});
constexpr ModelConfig no_positions =
    with(grouped, [](ModelConfig& c) { c.position = Position::none; });
constexpr ModelConfig one_token = with(grouped, [](ModelConfig& c) { c.context = 1; });
constexpr ModelConfig bytes_model{.vocab = 256, .dim = 8, .layers = 1, .heads = 1, .context = 16};
/// Large enough for every thread to get work.
constexpr ModelConfig wide{.vocab = 65,
                           .dim = 96,
                           .layers = 2,
                           .heads = 4,
                           .context = 48,
                           .moe = {.experts = 4, .top_k = 2, .hidden = 192}};

/// A model whose next token depends strongly on the ones before.
template <ModelConfig C, class B>
struct Rig {
  B backend;
  Transformer<C, B> model;
  explicit Rig(int max_tokens = 3 * C.context, auto... threads)
      : backend(threads...), model(backend, {.max_tokens = max_tokens, .init_std = 0.5}) {}
};
template <ModelConfig C>
using OnReference = Rig<C, Reference<double>>;
template <ModelConfig C>
using OnCpu = Rig<C, Cpu<float>>;

Tokens some_tokens(int n, int vocab, std::uint64_t seed = 1) {
  Tokens tokens;
  for (int i = 0; i < n; ++i)
    tokens.push_back(std::int32_t(philox(seed, 0, std::uint64_t(i)).word[0] % unsigned(vocab)));
  return tokens;
}

template <class T>
std::vector<T> copy_of(std::span<const T> logits) {
  return {logits.begin(), logits.end()};
}

/// The logits after the last token, without any cache.
template <class Model>
auto last_logits(Model& model, const Tokens& tokens) {
  model.forward({tokens.data(), tokens.data(), 1, int(tokens.size())}, false);
  const auto all = model.logits();
  return std::vector(all.end() - Model::config.vocab, all.end());
}

/// Whether tokens fed in pieces of any size give the bits of one forward pass over the whole
/// window.
template <class R>
bool pieces_give_the_same_logits() {
  R rig;
  auto& model = rig.model;
  using Model = std::remove_reference_t<decltype(model)>;
  constexpr int context = Model::config.context, vocab = Model::config.vocab;
  const Tokens tokens = some_tokens(context, vocab);
  model.forward({tokens.data(), tokens.data(), 1, context}, false);
  const auto all = model.logits();
  bool same = true;
  Generator generator(model);
  for (const int piece : {1, 2, 3, 7, context}) {
    generator.clear();
    for (int at = 0; at < context;) {
      const int n = std::min(piece, context - at);
      const auto got =
          copy_of(generator.feed(std::span(tokens).subspan(std::size_t(at), std::size_t(n))));
      at += n;
      same = same && generator.length() == at &&
             std::equal(got.begin(), got.end(), all.begin() + (at - 1) * vocab);
    }
  }
  return same;
}

template <class R>
bool small_passes_give_the_same_logits() {
  R large;
  using Model = std::remove_reference_t<decltype(large.model)>;
  const Tokens tokens = some_tokens(Model::config.context, Model::config.vocab);
  const auto expected = copy_of(Generator(large.model).feed(tokens));
  for (const int max_tokens : {1, 2, 4}) {
    R small(max_tokens);
    if (copy_of(Generator(small.model).feed(tokens)) != expected) return false;
  }
  return true;
}

/// Whether each of three sequences at once has the bits that it has alone.
template <class R>
bool sequences_do_not_meet() {
  R rig;
  using Model = std::remove_reference_t<decltype(rig.model)>;
  constexpr int vocab = Model::config.vocab, first = 4, steps = 2 * Model::config.context;
  std::vector<Tokens> texts;
  for (std::uint64_t s = 0; s < 3; ++s) texts.push_back(some_tokens(steps, vocab, s));
  std::vector<std::vector<std::vector<typename Model::T>>> alone(3);
  for (std::size_t s = 0; s < 3; ++s) {
    Generator one(rig.model);
    alone[s].push_back(copy_of(one.feed(std::span(texts[s]).first(first))));
    for (std::size_t i = first; i < steps; ++i)
      alone[s].push_back(copy_of(one.feed(std::span(texts[s]).subspan(i, 1))));
  }
  Generator three(rig.model, 3);
  bool same = alone[0] != alone[1];
  for (std::size_t i = first; i <= steps; ++i) {
    Tokens batch;
    for (const Tokens& text : texts)
      batch.insert(batch.end(), text.begin() + (i == first ? 0 : std::ptrdiff_t(i) - 1),
                   text.begin() + std::ptrdiff_t(i));
    const auto got = copy_of(three.feed(batch));
    for (std::size_t s = 0; s < 3; ++s)
      same = same && std::equal(alone[s][i - first].begin(), alone[s][i - first].end(),
                                got.begin() + std::ptrdiff_t(s) * vocab);
  }
  return same;
}

/// Whether the cache changes no token, far beyond the context and for every way of sampling.
template <class R>
bool cache_changes_no_token() {
  R rig;
  using Model = std::remove_reference_t<decltype(rig.model)>;
  const Tokens prompt = some_tokens(std::min(3, Model::config.context), Model::config.vocab);
  for (SampleOptions options : {SampleOptions{.temperature = 0}, SampleOptions{.seed = 1},
                                SampleOptions{.temperature = 0.8, .top_k = 5, .seed = 2},
                                SampleOptions{.top_p = 0.9, .min_p = 0.01, .seed = 3}}) {
    options.tokens = 4 * Model::config.context;
    const Tokens tokens = generate_tokens(rig.model, prompt, options);
    if (tokens.size() != std::size_t(options.tokens)) return false;
    if (tokens != generate_tokens_without_cache(rig.model, prompt, options)) return false;
  }
  return true;
}

TEST_CASE("generate: tokens in pieces give bitwise the logits of one pass", "[identity]") {
  CHECK(pieces_give_the_same_logits<OnReference<grouped>>());
  CHECK(pieces_give_the_same_logits<OnReference<gpt>>());
  CHECK(pieces_give_the_same_logits<OnReference<interleaved>>());
  CHECK(pieces_give_the_same_logits<OnReference<no_positions>>());
  CHECK(pieces_give_the_same_logits<OnCpu<grouped>>());
  CHECK(pieces_give_the_same_logits<OnCpu<gpt>>());
  CHECK(pieces_give_the_same_logits<OnCpu<interleaved>>());
  CHECK(pieces_give_the_same_logits<OnCpu<no_positions>>());
  CHECK(pieces_give_the_same_logits<OnCpu<wide>>());
}

TEST_CASE("generate: a model built for few tokens reads the prompt in several passes",
          "[identity]") {
  CHECK(small_passes_give_the_same_logits<OnReference<grouped>>());
  CHECK(small_passes_give_the_same_logits<OnCpu<interleaved>>());
  CHECK(small_passes_give_the_same_logits<OnCpu<gpt>>());
}

TEST_CASE("generate: the tokens are the same with and without the cache", "[identity]") {
  CHECK(cache_changes_no_token<OnReference<grouped>>());
  CHECK(cache_changes_no_token<OnReference<gpt>>());
  CHECK(cache_changes_no_token<OnReference<one_token>>());
  CHECK(cache_changes_no_token<OnCpu<grouped>>());
  CHECK(cache_changes_no_token<OnCpu<gpt>>());
  CHECK(cache_changes_no_token<OnCpu<interleaved>>());
  CHECK(cache_changes_no_token<OnCpu<no_positions>>());
}

TEST_CASE("generate: sequences of one batch have the logits that they have alone", "[identity]") {
  CHECK(sequences_do_not_meet<OnReference<grouped>>());
  CHECK(sequences_do_not_meet<OnCpu<grouped>>());
  CHECK(sequences_do_not_meet<OnCpu<gpt>>());
}

TEST_CASE("generate: the tokens are the same for every number of threads", "[determinism]") {
  const Tokens prompt = some_tokens(40, wide.vocab);
  const SampleOptions options{.tokens = 60, .seed = 4};
  OnCpu<wide> one(wide.context, 1);
  const Tokens tokens = generate_tokens(one.model, prompt, options);
  for (const int threads : {2, 4}) {
    OnCpu<wide> many(wide.context, threads);
    CHECK(generate_tokens(many.model, prompt, options) == tokens);
  }
}

TEST_CASE("generate: a full window keeps the last half of its tokens") {
  OnReference<grouped> rig;
  constexpr int context = grouped.context;  // 11: five tokens stay
  const Tokens text = some_tokens(40, grouped.vocab);
  const auto part = [&](int end, int length) {
    return Tokens(text.begin() + end - length, text.begin() + end);
  };
  Generator generator(rig.model);
  const auto full = copy_of(generator.feed(std::span(text).first(context)));
  CHECK(generator.length() == context);
  CHECK(full == last_logits(rig.model, part(context, context)));
  for (int end = context + 1, length = 5; end <= 30; ++end, ++length) {
    if (length > context) length = 5;
    const auto got = copy_of(generator.feed(part(end, 1)));
    CHECK(generator.length() == length);
    CHECK(got == last_logits(rig.model, part(end, length)));
    CHECK(got != last_logits(rig.model, part(end, length - 1)));
  }
  SECTION("also inside one call") {
    Generator other(rig.model);
    const auto got = copy_of(other.feed(std::span(text).first(context + 3)));
    CHECK(other.length() == 7);
    CHECK(got == last_logits(rig.model, part(context + 3, 7)));
  }
}

TEST_CASE("generate: the prompt and its order matter") {
  OnReference<grouped> rig;
  Generator generator(rig.model);
  const auto logits = [&](const Tokens& tokens) {
    generator.clear();
    return copy_of(generator.feed(tokens));
  };
  CHECK(logits({1, 2, 3}) == logits({1, 2, 3}));
  CHECK(logits({1, 2, 3}) != logits({2, 1, 3}));
  CHECK(logits({1, 2, 3}) != logits({2, 3}));
}

TEST_CASE("generate: a seed gives one text, another seed another") {
  OnReference<grouped> rig;
  const auto text = [&](std::uint64_t seed, double temperature) {
    return generate_tokens(rig.model, {1, 2},
                           {.tokens = 30, .temperature = temperature, .seed = seed});
  };
  CHECK(text(1, 1) == text(1, 1));
  CHECK(text(1, 1) != text(2, 1));
  CHECK(text(1, 0) == text(2, 0));
  const Tokens longer = text(1, 1);
  const Tokens shorter = generate_tokens(rig.model, {1, 2}, {.tokens = 10, .seed = 1});
  CHECK(shorter == Tokens(longer.begin(), longer.begin() + 10));
}

TEST_CASE("generate: greedy takes the most likely token of every step") {
  OnReference<grouped> rig;
  Tokens text{3, 1};
  for (const int token : generate_tokens(rig.model, text, {.tokens = 9, .temperature = 0})) {
    const auto logits = last_logits(rig.model, text);
    CHECK(token == std::max_element(logits.begin(), logits.end()) - logits.begin());
    text.push_back(token);
  }
}

TEST_CASE("generate: dropout and router noise are off, and the model stays as it is") {
  OnReference<grouped> plain;
  Reference<double> backend;
  Transformer<grouped, Reference<double>> noisy(
      backend, {.max_tokens = 16,
                .dropout = {.embedding = .5, .attention = .5, .expert = .5, .final = .5},
                .router_noise = 1,
                .init_std = 0.5});
  const Tokens prompt{1, 2, 3};
  const SampleOptions options{.tokens = 25};
  CHECK(generate_tokens(noisy, prompt, options) == generate_tokens(plain.model, prompt, options));
  CHECK(noisy.passes() == 0);
}

TEST_CASE("generate: the callback gets every token as soon as it is chosen") {
  OnReference<grouped> rig;
  Tokens heard;
  const Tokens tokens = generate_tokens(rig.model, {5}, {.tokens = 20},
                                        [&](std::int32_t token) { heard.push_back(token); });
  CHECK(heard == tokens);
  heard.clear();
  struct Enough {};
  CHECK_THROWS_AS(generate_tokens(rig.model, {5}, {.tokens = 20},
                                  [&](std::int32_t token) {
                                    heard.push_back(token);
                                    if (heard.size() == 3) throw Enough{};
                                  }),
                  Enough);
  CHECK(heard == Tokens(tokens.begin(), tokens.begin() + 3));
  CHECK(generate_tokens(rig.model, {5}, {.tokens = 0}).empty());
}

TEST_CASE("generate: text in, text out, for bytes and for characters") {
  OnReference<bytes_model> bytes;
  std::string heard;
  const std::string text = generate(bytes.model, "Once", {.tokens = 30, .seed = 1},
                                    [&](std::string_view piece) { heard += piece; });
  CHECK(text.size() == 30);
  CHECK(heard == text);
  const Tokens tokens =
      generate_tokens(bytes.model, {'O', 'n', 'c', 'e'}, {.tokens = 30, .seed = 1});
  CHECK(text == ByteTokenizer{}.decode(tokens));
  CHECK(ByteTokenizer{}.encode("\xff\x01") == Tokens{255, 1});

  // The model has 13 tokens, the text 5 characters; two of them take two bytes.
  OnReference<grouped> rig;
  const CharTokenizer vocabulary("ab\xC3\xA9\xC3\xA8\n");
  REQUIRE(vocabulary.size() == 5);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::string chars = generate(rig.model, vocabulary, "ab", {.tokens = 20, .seed = seed});
    CHECK(vocabulary.encode(chars).size() == 20);
  }
  CHECK(generate(rig.model, vocabulary, "a", {.tokens = 7, .vocab = 1}) == "\n\n\n\n\n\n\n");
}

TEST_CASE("generate: prompts that cannot be continued are refused in one sentence") {
  OnReference<grouped> rig;
  const auto message = [&](const Tokens& prompt, const SampleOptions& options = {}) {
    std::string with_cache = message_of([&] { generate_tokens(rig.model, prompt, options); });
    CHECK(with_cache ==
          message_of([&] { generate_tokens_without_cache(rig.model, prompt, options); }));
    return with_cache;
  };
  CHECK(message({}) ==
        "moe: cannot generate from an empty prompt: there is nothing to continue; give at least "
        "one character, for example a line break");
  CHECK(message(Tokens(12, 1)) ==
        "moe: cannot generate from a prompt of 12 tokens: the context of the model is 11; give the "
        "end of the prompt only");
  CHECK(message(Tokens(11, 1)).empty());
  CHECK(message({1, 13}) ==
        "moe: cannot continue from token 13: the model has 13; encode the text with the "
        "vocabulary that it was trained with");
  CHECK(message({-1}).starts_with("moe: cannot continue from token -1"));
  CHECK(message({1}, {.top_p = 2}).starts_with("moe: cannot sample with SampleOptions.top_p"));
  const CharTokenizer vocabulary("abc");
  CHECK(message_of([&] { generate(rig.model, vocabulary, ""); }) == message({}));
  CHECK(message_of([&] {
          generate(rig.model, vocabulary, "abd");
        }).starts_with("moe: cannot encode character 'd'"));
  const CharTokenizer large("abcdefghijklmnop");
  CHECK(message_of([&] { generate(rig.model, large, "a"); }) ==
        "moe: cannot choose among 16 tokens: the model has 13; use the vocabulary that it was "
        "trained with");
}

TEST_CASE("generate: a refused token leaves the generator as it was") {
  OnReference<grouped> rig;
  Generator generator(rig.model), other(rig.model);
  generator.feed(Tokens{1, 2});
  CHECK(!message_of([&] { generator.feed(Tokens{3, 99}); }).empty());
  CHECK(generator.length() == 2);
  const auto got = copy_of(generator.feed(Tokens{4}));
  CHECK(got == copy_of(other.feed(Tokens{1, 2, 4})));
}

TEST_CASE("generate: a diverged model is reported, not sampled") {
  OnCpu<grouped> rig;
  rig.model.params().token_embedding.weight.data[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(message_of([&] {
          generate_tokens(rig.model, {1});
        }).starts_with("moe: cannot choose a token: logit 0 of 13 is "));
}

TEST_CASE("generate: the generator's memory is keys and values of the context") {
  using Model = Transformer<grouped, Cpu<float>>;
  // 2 (keys, values) * 2 layers * 11 positions * 2 key heads * 4 numbers * 4 bytes
  CHECK(Generator<Model>::bytes() == 1408);
  CHECK(Generator<Model>::bytes(3) == 3 * 1408);
}

}  // namespace
