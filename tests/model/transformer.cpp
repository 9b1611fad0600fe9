#include <atomic>
#include <cstdlib>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <moe/optim/schedule.hpp>
#include <new>

#include "../gradient.hpp"
#include "catch.hpp"
#include "skip.hpp"

// Counts the allocations of a training step.
namespace {
std::atomic<long> allocations{0};
}
#if !MOE_SANITIZED  // a sanitizer has its own operator new
// Not inlined, because GCC would warn that malloc and delete do not match.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
#endif

namespace {

using namespace moe;

constexpr ModelConfig config{.vocab = 31,
                             .dim = 40,
                             .layers = 3,
                             .heads = 4,
                             .kv_heads = 2,
                             .hidden = 48,
                             .context = 24,
                             .moe = {.experts = 4, .top_k = 2, .every = 2, .expert_bias = true}};
using Model = Transformer<config, Cpu<float>>;
constexpr int tokens = 3 * config.context;

std::vector<std::int32_t> some_text(int seed = 0) {
  std::vector<std::int32_t> text(tokens + 1);
  for (std::size_t i = 0; i < text.size(); ++i)
    text[i] = std::int32_t((i * i + 7 * i / 3 + std::size_t(seed) * 5) % config.vocab);
  return text;
}
Batch batch_of(const std::vector<std::int32_t>& text) {
  return {text.data(), text.data() + 1, 3, config.context};
}
Options options() {
  return {.max_tokens = tokens,
          .dropout = {.attention = 0.1, .expert = 0.1, .final = 0.1},
          .router_noise = 0.1,
          .seed = 9};
}

TEST_CASE("Transformer: a training step allocates nothing", "[memory]") {
  if (moe::test::sanitized) return moe::test::skip("a sanitizer has its own operator new");
  Cpu<float> backend{2};
  Model model{backend, options()};
  Muon optimizer{model};
  const auto text = some_text();
  const auto step = [&] {
    model.forward(batch_of(text));
    model.backward();
    optimizer.step();
  };
  step();
  const long before = allocations;
  step();
  step();
  CHECK(allocations == before);
}

TEST_CASE("Transformer: a token does not see the tokens after it", "[identity]") {
  Cpu<float> backend{1};
  Model model{backend, options()};
  auto text = some_text();
  model.forward(batch_of(text), false);
  const auto before = model.logits();
  const std::size_t changed = config.context + 10;  // in the second sequence
  text[changed] = (text[changed] + 1) % config.vocab;
  model.forward(batch_of(text), false);
  const auto after = model.logits();
  std::size_t same = 0, differ = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::size_t place = i / config.vocab;
    const bool may_differ = place >= changed && place < 2 * config.context;
    if (!may_differ) same += before[i] == after[i];
    if (place == changed) differ += before[i] != after[i];
  }
  CHECK(same == before.size() - (2 * config.context - changed) * config.vocab);
  CHECK(differ > 0);
}

TEST_CASE("Transformer: one, two and four threads give the same bits", "[training]") {
  const auto train = [](int threads) {
    Cpu<float> backend{threads};
    Model model{backend, options()};
    Muon optimizer{model};
    for (int step = 0; step < 5; ++step) {
      const auto text = some_text(step);
      model.forward(batch_of(text));
      model.backward();
      optimizer.step();
    }
    return test::get_leaves<float>(model.params());
  };
  const auto one = train(1);
  CHECK(one == train(2));
  CHECK(one == train(4));
}

TEST_CASE("Transformer: it learns a text by heart", "[training]") {
  Cpu<float> backend{2};
  Model model{backend, {.max_tokens = tokens, .seed = 1}};
  Muon optimizer{model, {.lr = 0.02, .rest = {.lr = 1e-2}}};
  const auto text = some_text();
  const double first = model.forward(batch_of(text)).cross_entropy;
  CHECK(std::abs(first - std::log(double(config.vocab))) < 0.2);
  for (int step = 0; step < 150; ++step) {
    model.forward(batch_of(text));
    model.backward();
    optimizer.step(cosine(step, 150));  // at a constant rate Muon never comes to rest
  }
  const Loss last = model.forward(batch_of(text), false);
  INFO("cross entropy " << last.cross_entropy << ", accuracy " << last.accuracy);
  CHECK(last.cross_entropy < 0.05);
  CHECK(last.accuracy > 0.99);
}

TEST_CASE("Transformer: every knob changes the gradient", "[options]") {
  Reference<double> backend;
  using Exact = Transformer<config, Reference<double>>;
  const auto text = some_text();
  const auto gradient = [&](Options o, int length = config.context) {
    o.max_tokens = tokens;
    o.init_std = o.init_std == 0.02 ? 0.2 : o.init_std;
    Exact model{backend, o};
    model.forward({text.data(), text.data() + 1, tokens / length, length});
    model.backward();
    return test::get_leaves<double>(model.grads());
  };
  const auto plain = gradient({});
  CHECK(plain == gradient({}));
  CHECK(plain != gradient({.norm_eps = 1e-3}));
  CHECK(plain != gradient({.rope_base = 100}));
  CHECK(plain != gradient({.dropout = {.embedding = 0.1}}));
  CHECK(plain != gradient({.dropout = {.attention = 0.1}}));
  CHECK(plain != gradient({.dropout = {.attention_output = 0.1}}));
  CHECK(plain != gradient({.dropout = {.expert = 0.1}}));
  CHECK(plain != gradient({.dropout = {.ffn_output = 0.1}}));
  CHECK(plain != gradient({.dropout = {.final = 0.1}}));
  CHECK(plain != gradient({.router_noise = 0.1}));
  CHECK(plain != gradient({.balance_weight = 0.02}));
  CHECK(plain != gradient({.z_weight = 0.001}));
  CHECK(plain != gradient({.entropy_weight = 0.001}));
  CHECK(plain != gradient({.init_std = 0.3}));
  CHECK(plain != gradient({.round_robin_routing = true}));
  CHECK(plain != gradient({.seed = 1}));
  CHECK(plain != gradient({}, config.context / 2));
}

TEST_CASE("Transformer: gradients of two half batches add up to the whole", "[adds]") {
  Reference<double> backend;
  // Without auxiliary losses and noise, which depend on the whole batch.
  using Exact = Transformer<config, Reference<double>>;
  Exact model{backend, {.max_tokens = tokens, .balance_weight = 0, .init_std = 0.2}};
  const auto text = some_text();
  model.forward({text.data(), text.data() + 1, 2, config.context});
  model.backward();
  const auto whole = test::get_leaves<double>(model.grads());
  model.zero_grads();
  for (int half = 0; half < 2; ++half) {
    const std::int32_t* at = text.data() + half * config.context;
    model.forward({at, at + 1, 1, config.context});
    model.backward(0.5);
  }
  const auto halves = test::get_leaves<double>(model.grads());
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    worst = std::max(worst, std::abs(whole[i] - halves[i]));
    largest = std::max(largest, std::abs(whole[i]));
  }
  CHECK(worst < 1e-13 * largest);
}

TEST_CASE("Transformer: loss-free balancing evens the load out", "[training]") {
  Cpu<float> backend{1};
  // Without a balance loss, and with a large rate of the expert bias: the bias alone must even the
  // load out.
  Model model{backend, {.max_tokens = tokens, .balance_weight = 0, .init_std = 0.2, .seed = 2}};
  Muon optimizer{model, {.lr = 0, .rest = {.lr = 0}, .expert_bias_rate = 0.01}};
  const auto text = some_text();
  const auto unevenness = [&] {
    double most = 0;
    for (int layer = 0; layer < config.moe_layers(); ++layer)
      for (const double share : model.expert_load(layer)) most = std::max(most, share);
    return most * config.moe.experts - 1;
  };
  model.forward(batch_of(text));
  const double before = unevenness();
  for (int step = 0; step < 60; ++step) {
    model.forward(batch_of(text));
    model.backward();
    optimizer.step();
  }
  model.forward(batch_of(text));
  CHECK(before > 0.15);
  CHECK(unevenness() < 0.5 * before);
}

TEST_CASE("Transformer: descending the balance loss evens the load out, its sign is right",
          "[training]") {
  Cpu<float> backend{1};
  constexpr ModelConfig plain = [] {
    ModelConfig c = config;
    c.moe.expert_bias = false;
    return c;
  }();
  Transformer<plain, Cpu<float>> model{
      backend, {.max_tokens = tokens, .balance_weight = 1, .init_std = 0.2, .seed = 2}};
  AdamW optimizer{model, {.lr = 3e-3}};
  const auto text = some_text();
  const double before = model.forward(batch_of(text)).balance;
  for (int step = 0; step < 60; ++step) {
    model.forward(batch_of(text));
    model.backward();
    optimizer.step();
  }
  CHECK(before > 1.02);
  CHECK(model.forward(batch_of(text)).balance < 1 + 0.5 * (before - 1));
}

TEST_CASE("Transformer: a token outside the vocabulary is an error that names it", "[error]") {
  Cpu<float> backend{1};
  Model model{backend, options()};
  auto text = some_text();
  text[5] = config.vocab;
  try {
    model.forward(batch_of(text));
    FAIL("no error");
  } catch (const Error& e) {
    const std::string message = e.what();
    CHECK(message.find("token 31 at place 5") != std::string::npos);
    CHECK(message.find("vocabulary of 31") != std::string::npos);
  }
}

TEST_CASE("Transformer: evaluation draws nothing and leaves the streams alone", "[options]") {
  Cpu<float> backend{1};
  Model model{backend, options()};
  const auto text = some_text();
  const double a = model.forward(batch_of(text), false).total;
  CHECK(model.passes() == 0);
  CHECK(model.forward(batch_of(text), false).total == a);
  CHECK(model.forward(batch_of(text)).total != a);
  CHECK(model.passes() == 1);
}

}  // namespace
