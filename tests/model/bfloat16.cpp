#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/core/bfloat16.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>

#include "../gradient.hpp"
#include "catch.hpp"
#include "text.hpp"

// A whole model whose activations are stored as bfloat16, against exact arithmetic.

namespace {

using namespace moe;
using Mixed = Reference<float, bfloat16>;
using Narrow = Cpu<bfloat16>;

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

using Text = test::Text<base>;
constexpr int tokens = Text::tokens;
Options options() {
  return {.max_tokens = tokens, .init_std = 0.15, .seed = 12};
}

struct Errors {
  double loss;      // relative
  double logits;    // largest difference over the largest
  double gradient;  // of the leaf that is worst: |difference| / |gradient|, Euclidean
};

/// Routing is uniform, because with bfloat16 a token might choose other experts.
template <ModelConfig C, class B = Mixed, class Expected = Reference<double>>
Errors errors() {
  Expected exact;
  B backend;
  Options o = options();
  o.round_robin_routing = true;
  Transformer<C, Expected> oracle{exact, o};
  Transformer<C, B> model{backend, o};
  const Text text;
  const double want = oracle.forward(text.batch()).total;
  Errors e{std::abs(model.forward(text.batch()).total / want - 1), 0, 0};
  const auto a = oracle.logits();
  const std::vector<float> b = model.logits();
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    e.logits = std::max(e.logits, std::abs(double(a[i]) - double(b[i])));
    largest = std::max(largest, std::abs(double(a[i])));
  }
  e.logits /= largest;
  oracle.backward();
  model.backward();
  for_each_leaf(
      [&](const auto& x, const auto& y) {
        double difference = 0, size = 0;
        for (std::size_t i = 0; i < x.size; ++i) {
          difference += std::pow(double(x.data[i]) - double(y.data[i]), 2);
          size += std::pow(double(x.data[i]), 2);
        }
        if (difference > 0) e.gradient = std::max(e.gradient, std::sqrt(difference / size));
      },
      oracle.grads(), model.grads());
  return e;
}

bool within(const Errors& e, const Errors& bound) {
  UNSCOPED_INFO("loss " << e.loss << ", logits " << e.logits << ", gradient " << e.gradient);
  return e.loss < bound.loss && e.logits < bound.logits && e.gradient < bound.gradient &&
         e.logits > 1e-4;  // some numbers are rounded to bfloat16
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

TEST_CASE("bfloat16: models on the CPU agree with exact arithmetic", "[mixed][parity]") {
  CHECK(within(errors<base, Narrow>(), {1.5e-3, 0.06, 0.06}));
  CHECK(within(errors<gpt, Narrow>(), {2e-4, 0.02, 0.04}));
  CHECK(within(errors<llama_mixture, Narrow>(), {2e-4, 0.018, 0.06}));
  CHECK(within(errors<gpt_mixture, Narrow>(), {1.5e-4, 0.025, 0.09}));
}

// Whether the CPU rounds as the oracle does, except where a sum lies between two numbers: the
// measured errors are below 6e-7.
template <ModelConfig C>
bool as_the_oracle() {
  const Errors e = errors<C, Narrow, Mixed>();
  UNSCOPED_INFO("loss " << e.loss << ", logits " << e.logits << ", gradient " << e.gradient);
  return e.loss < 2e-5 && e.logits < 2e-3 && e.gradient < 5e-3;
}

TEST_CASE("bfloat16: models on the CPU agree with the oracle", "[mixed][parity]") {
  CHECK(as_the_oracle<base>());
  CHECK(as_the_oracle<gpt>());
  CHECK(as_the_oracle<llama_mixture>());
  CHECK(as_the_oracle<gpt_mixture>());
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

/// The loss before each of ten steps on one batch, with rates that are high enough to learn it.
template <ModelConfig C, class B, template <class> class Optimizer>
std::vector<double> losses(int threads, auto rates) {
  B be{threads};
  Transformer<C, B> model{be, options()};
  Optimizer<Transformer<C, B>> optimizer{model, rates};
  const Text text;
  std::vector<double> all;
  for (int step = 0; step < 10; ++step) {
    all.push_back(model.forward(text.batch()).cross_entropy);
    model.backward();
    optimizer.step();
  }
  return all;
}
/// `bound`: the largest allowed difference between the losses of bfloat16 and of float, in nats.
template <ModelConfig C, template <class> class Optimizer>
void check_training(double bound, auto rates) {
  const auto narrow = losses<C, Narrow, Optimizer>(1, rates);
  const auto wide = losses<C, Cpu<float>, Optimizer>(1, rates);
  double worst = 0;
  for (std::size_t i = 0; i < wide.size(); ++i)
    worst = std::max(worst, std::abs(narrow[i] - wide[i]));
  UNSCOPED_INFO("loss from " << wide[0] << " to " << wide.back() << ", error " << worst);
  CHECK((worst < bound && worst > 1e-6));
  CHECK(narrow.back() < 0.2 * narrow[0]);
  for (const int threads : {2, 3})
    CHECK(losses<C, Narrow, Optimizer>(threads, rates) == narrow);  // the same bits
}

TEST_CASE("bfloat16: steps of AdamW and Muon reduce the loss as with float",
          "[mixed][training][determinism]") {
  check_training<base, AdamW>(0.01, AdamWOptions{.lr = 1e-2});        // 0.0037
  check_training<gpt_mixture, AdamW>(0.1, AdamWOptions{.lr = 1e-2});  // 0.036
  check_training<llama_mixture, Muon>(0.12,                           // 0.043
                                      MuonOptions{.lr = 0.02, .rest = {.lr = 1e-2}});
}

template <class B>
void check_generator() {
  B be;
  Transformer<llama_mixture, B> model{be, options()};
  const Text text;
  model.forward({text.data, text.data, 1, 7}, false);
  const std::vector<float> whole = model.logits();
  for (const int piece : {1, 3}) {
    Generator generator(model);
    for (int i = 0; i < 7; i += piece) {
      const int count = std::min(piece, 7 - i), last = i + count - 1;
      const auto logits = generator.feed({text.data + i, std::size_t(count)});
      const std::vector<float> expected(whole.begin() + last * base.vocab,
                                        whole.begin() + (last + 1) * base.vocab);
      CHECK(std::vector<float>(logits.begin(), logits.end()) == expected);
    }
    static_assert(generator.bytes() == 2 * 3 * 12 * 16 * sizeof(bfloat16));
  }
}

TEST_CASE("bfloat16: a generator gives the logits of the whole pass", "[mixed][identity]") {
  check_generator<Mixed>();
  check_generator<Narrow>();
}

}  // namespace
