#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <thread>

#include "catch.hpp"

// Tests that models and backends are used by one thread at a time, and that they work after fork().

namespace {

using namespace moe;

constexpr ModelConfig config{.vocab = 11,
                             .dim = 64,
                             .layers = 2,
                             .heads = 2,
                             .context = 32,
                             .moe = {.experts = 2, .top_k = 1, .hidden = 128}};
constexpr int tokens = 32 * 16;

std::vector<std::int32_t> some_text() {
  std::vector<std::int32_t> text(tokens + 1);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = std::int32_t(i * i % 11);
  return text;
}

/// The message that f throws in a thread of its own.
template <class F>
std::string message_elsewhere(const F& f) {
  std::string text = "nothing was refused";
  std::thread([&] {
    try {
      f();
    } catch (const Error& error) {
      text = error.what();
    }
  }).join();
  return text;
}

/// The exit code of a child that runs f, 99 if it did not end within a minute.
template <class F>
int in_child(const F& f) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(60);
    int code = 98;
    try {
      code = f();
    } catch (...) {
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

template <class B>
struct Trained {
  std::vector<std::int32_t> text = some_text();
  B backend;
  Transformer<config, B> model;
  AdamW<Transformer<config, B>> optimizer;

  template <class... Threads>
  explicit Trained(Threads... threads)
      : backend(threads...), model(backend, {.max_tokens = tokens}), optimizer(model) {}

  double step() {
    const double loss =
        model.forward_backward({text.data(), text.data() + 1, 16, 32}).cross_entropy;
    optimizer.step();
    return loss;
  }
};

template <class B, class... Threads>
void one_thread_at_a_time(Threads... threads) {
  Trained<B> run(threads...);
  const auto refused = [](const std::string& text) {
    return text.find("from a second thread while a first one is in it") != std::string::npos;
  };
  {
    const auto hold = run.model.hold();
    CHECK(refused(message_elsewhere([&] { run.step(); })));
    CHECK(refused(message_elsewhere([&] { run.model.forward({run.text.data(), nullptr, 1, 4}); })));
    CHECK(refused(message_elsewhere([&] { run.optimizer.step(); })));
    CHECK(refused(message_elsewhere([&] { generate_tokens(run.model, {1, 2}, {.tokens = 3}); })));
    CHECK_NOTHROW(run.step());  // of the same thread
  }
  // After an error the model is free, and threads may take turns.
  CHECK_THROWS_AS(run.model.forward({nullptr, nullptr, 1, 4}), Error);
  CHECK(message_elsewhere([&] { run.step(); }) == "nothing was refused");
  // While a text is generated the model is in use, also during the callback.
  std::string text;
  generate_tokens(run.model, {1, 2}, {.tokens = 2}, [&](std::int32_t) {
    text = message_elsewhere([&] { generate_tokens(run.model, {3}, {.tokens = 3}); });
  });
  CHECK(refused(text));
}

}  // namespace

TEST_CASE("a model is used by one thread at a time", "[in_use]") {
  one_thread_at_a_time<Cpu<float>>(2);
  one_thread_at_a_time<Reference<double>>();
}

TEST_CASE("a backend is used by one thread at a time, whichever of its models", "[in_use]") {
  Cpu<float> backend(2);
  Transformer<config, Cpu<float>> first(backend, {.max_tokens = 32});
  Transformer<config, Cpu<float>> second(backend, {.max_tokens = 32});
  const std::string want = "moe: cannot use a backend from a second thread";
  std::string text;
  generate_tokens(first, {1, 2}, {.tokens = 2}, [&](std::int32_t) {
    text = message_elsewhere([&] { generate_tokens(second, {3}, {.tokens = 3}); });
  });
  CHECK(text.starts_with(want));
  const auto hold = backend.hold();
  std::vector<float> x(4);
  CHECK(message_elsewhere([&] { backend.zero(x.data(), 16); }).starts_with(want));
  CHECK(message_elsewhere([&] { backend.rows(1, [](const auto&, int) {}); }).starts_with(want));
}

TEST_CASE("two threads on one backend: each gets the right text or an error", "[in_use]") {
  Cpu<float> backend(1);
  using Model = Transformer<config, Cpu<float>>;
  Model first(backend, {.max_tokens = 32}), second(backend, {.max_tokens = 32, .seed = 1});
  const SampleOptions options{.tokens = 20, .seed = 3};
  const auto text_of = [&](Model& model) { return generate_tokens(model, {1, 2}, options); };
  const auto expected_first = text_of(first), expected_second = text_of(second);
  std::atomic<int> wrong{0};
  const auto serve = [&](Model& model, const std::vector<std::int32_t>& expected) {
    for (int i = 0; i < 40; ++i) {
      try {
        if (text_of(model) != expected) ++wrong;
      } catch (const Error&) {
      }
    }
  };
  std::thread other([&] { serve(second, expected_second); });
  serve(first, expected_first);
  other.join();
  CHECK(wrong == 0);
  CHECK(text_of(first) == expected_first);
}

TEST_CASE("two generators of one model keep their logits", "[in_use]") {
  Cpu<float> backend(1);
  Transformer<config, Cpu<float>> model(backend, {.max_tokens = 32});
  Generator a(model), b(model);
  const auto logits = a.feed(std::vector<std::int32_t>{1, 2, 3});
  const std::vector<float> before(logits.begin(), logits.end());
  b.feed(std::vector<std::int32_t>{7});
  CHECK(std::equal(before.begin(), before.end(), logits.begin()));
}

TEST_CASE("after fork a child computes the same bits, and so does its child", "[in_use]") {
  Trained<Cpu<float>> run(2), same(2);
  run.step(), same.step();
  const double expected = same.step();
  const auto right = [&] { return run.step() == expected ? 0 : 1; };
  CHECK(in_child(right) == 0);
  CHECK(in_child([&] { return in_child(right); }) == 0);
  CHECK(in_child([&] {  // a backend of its own
          Trained<Cpu<float>> own(2);
          own.step();
          return own.step() == expected ? 0 : 1;
        }) == 0);
  CHECK(right() == 0);  // the parent goes on
}

TEST_CASE("after fork a model that another thread was using is free in the child", "[in_use]") {
  Trained<Cpu<float>> run(1);
  std::atomic<bool> held{false}, done{false};
  std::thread other([&] {
    const auto hold = run.model.hold();
    held = true;
    while (!done) std::this_thread::yield();
  });
  while (!held) std::this_thread::yield();
  CHECK(in_child([&] { return std::isfinite(run.step()) ? 0 : 1; }) == 0);
  done = true;
  other.join();
}
