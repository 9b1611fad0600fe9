#include <moe/backend/reference.hpp>
#include <moe/bfloat16.hpp>
#include <moe/generate.hpp>
#include <moe/transformer.hpp>

#include "../gradient.hpp"
#include "catch.hpp"

// A whole model whose activations are stored as bfloat16, against exact arithmetic.

namespace {

using namespace moe;
using Mixed = Reference<float, bfloat16>;

constexpr ModelConfig base{
    .vocab = 29, .dim = 32, .layers = 3, .heads = 4, .kv_heads = 2, .hidden = 40, .context = 12};
constexpr ModelConfig with(auto change) {
  ModelConfig c = base;
  change(c);
  return c;
}
constexpr ModelConfig llama_mixture =
    with([](ModelConfig& c) { c.moe = {.experts = 4, .top_k = 2, .hidden = 24}; });
constexpr ModelConfig gpt = with([](ModelConfig& c) {
  c.bias = true;
  c.norm = Norm::layer;
  c.position = Position::learned;
  c.activation = Activation::gelu;
  c.tied = false;
});
constexpr ModelConfig gpt_mixture = with([](ModelConfig& c) {
  c = gpt;
  c.moe = {.experts = 4, .top_k = 2, .hidden = 24};
  c.moe.shared_experts = 1;
});

constexpr int tokens = 2 * base.context;
struct Text {
  std::int32_t data[tokens + 1];
  Text() {
    for (int i = 0; i <= tokens; ++i) data[i] = (i * i + 7 * i / 3) % base.vocab;
  }
  Batch batch() const { return {data, data + 1, 2, base.context}; }
};
Options options() {
  return {.max_tokens = tokens, .init_std = 0.15, .seed = 12};
}

struct Errors {
  double loss;      // relative
  double logits;    // largest difference over the largest
  double gradient;  // of the leaf that is worst: |difference| / |gradient|, Euclidean
};

/// Experts are taken by turns: with bfloat16 the best two of a token may be others.
template <ModelConfig C>
Errors errors() {
  Reference<double> exact;
  Mixed mixed;
  Options o = options();
  o.uniform_routing = true;
  Transformer<C, Reference<double>> oracle{exact, o};
  Transformer<C, Mixed> model{mixed, o};
  const Text text;
  const double want = oracle.forward(text.batch()).total;
  Errors e{std::abs(model.forward(text.batch()).total / want - 1), 0, 0};
  const std::vector<double> a = oracle.logits();
  const std::vector<float> b = model.logits();
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    e.logits = std::max(e.logits, std::abs(a[i] - double(b[i])));
    largest = std::max(largest, std::abs(a[i]));
  }
  e.logits /= largest;
  oracle.backward();
  model.backward();
  for_each_leaf(
      [&](const auto& x, const auto& y) {
        double difference = 0, size = 0;
        for (std::size_t i = 0; i < x.size; ++i) {
          difference += std::pow(x.data[i] - double(y.data[i]), 2);
          size += std::pow(x.data[i], 2);
        }
        if (difference > 0) e.gradient = std::max(e.gradient, std::sqrt(difference / size));
      },
      oracle.grads(), model.grads());
  return e;
}

bool within(const Errors& e, const Errors& bound) {
  UNSCOPED_INFO("loss " << e.loss << ", logits " << e.logits << ", gradient " << e.gradient);
  return e.loss < bound.loss && e.logits < bound.logits && e.gradient < bound.gradient &&
         e.logits > 1e-4;  // something is narrow indeed
}

// Bounds are at most three times what was measured.
TEST_CASE("bfloat16: loss, logits and gradients of dense models", "[mixed]") {
  CHECK(within(errors<base>(), {1.5e-3, 0.06, 0.06}));  // 5.6e-4, 0.025, 0.026
  CHECK(within(errors<gpt>(), {2e-4, 0.02, 0.04}));     // 8.3e-5, 0.0075, 0.014
}

TEST_CASE("bfloat16: loss, logits and gradients of mixtures", "[mixed]") {
  CHECK(within(errors<llama_mixture>(), {2e-4, 0.018, 0.06}));  // 6.9e-5, 0.0068, 0.021
  CHECK(within(errors<gpt_mixture>(), {1.5e-4, 0.025, 0.09}));  // 5.4e-5, 0.0088, 0.031
}

template <ModelConfig C>
double loss_after_training() {
  Mixed be;
  Transformer<C, Mixed> model{be, options()};
  const Text text;
  for (int step = 0; step < 60; ++step) {
    model.zero_grads();
    model.forward(text.batch());
    model.backward();
    for_each_leaf(
        [](auto& p, const auto& g) {
          for (std::size_t i = 0; i < p.size; ++i) p.data[i] -= 0.1f * g.data[i];
        },
        model.params(), model.grads());
  }
  return model.forward(text.batch(), false).cross_entropy;
}

TEST_CASE("bfloat16: models learn", "[mixed][training]") {
  CHECK(loss_after_training<base>() < 0.5);
  CHECK(loss_after_training<gpt_mixture>() < 0.5);
}

TEST_CASE("bfloat16: a generator gives the logits of the whole pass", "[mixed][identity]") {
  Mixed be;
  Transformer<llama_mixture, Mixed> model{be, options()};
  const Text text;
  model.forward({text.data, text.data, 1, 7}, false);
  const std::vector<float> whole = model.logits();
  Generator generator(model);
  std::span<const float> logits;
  for (int i = 0; i < 7; ++i) {
    logits = generator.feed({text.data + i, 1});
    const std::vector<float> expected(whole.begin() + i * base.vocab,
                                      whole.begin() + (i + 1) * base.vocab);
    CHECK(std::vector<float>(logits.begin(), logits.end()) == expected);
  }
  static_assert(generator.bytes() == 2 * 3 * 12 * 16 * sizeof(bfloat16));
}

}  // namespace
