#include <filesystem>
#include <functional>
#include <moe/core/error.hpp>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "backend/detached.hpp"
#include "catch.hpp"
#include "run.hpp"

// What is left when something throws or comes at the wrong time: a run that is called again ends
// with the bits, the rows and the checkpoint of one that was never stopped. On a backend where
// everything is done at once, and on one where everything is late.

namespace {

using namespace moe;
using namespace moe::test;
using Backends = std::tuple<Cpu<float>, Detached<float>>;

struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("by the test") {}
};

/// Throws when it is called with `step` for the first time.
std::function<void(std::int64_t)> once_at(std::int64_t step) {
  return [step, thrown = false](std::int64_t now) mutable {
    if (now == step && !std::exchange(thrown, true)) throw Interrupted();
  };
}

/// The steps of the rows of training in the folder of a run, and of those of evaluation.
struct Rows {
  std::vector<std::int64_t> training, evaluation;
  explicit Rows(const std::string& folder) {
    const std::string text = read_file(folder + "/metrics.jsonl");
    for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
      end = text.find('\n', begin);
      const Json row = parse_json(text.substr(begin, end - begin));
      (row.find("val_loss") ? evaluation : training).push_back(row.at("step").as_int("step"));
    }
  }
};
const std::vector<std::int64_t> all_steps{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

std::int64_t saved_step(const std::string& folder) {
  return read_manifest(folder + "/last").at("cursor").at("step").as_int("step");
}

/// Checks a finished run in scratch/run against one that was never stopped, which is made once.
template <class B>
void check_whole(Run<B>& run, const ScratchFolder& scratch) {
  struct Whole {
    ScratchFolder scratch;
    Run<B> run{scratch / "run"};
    Whole() { CHECK(run.trainer.run() == StopReason::finished); }
  };
  static Whole whole;
  CHECK(run.parameters() == whole.run.parameters());
  CHECK(run.trainer.state().last_loss == whole.run.trainer.state().last_loss);
  CHECK(run.agrees());
  CHECK(saved_step(scratch / "run") == 12);
  CHECK(Rows(scratch / "run").training == all_steps);
  CHECK(Rows(scratch / "run").evaluation == std::vector<std::int64_t>{5, 10, 12});
}

TEMPLATE_LIST_TEST_CASE("Trainer: thrown out of by on_step, it goes on with nothing lost",
                        "[interrupted]", Backends) {
  for (const int step : {1, 4, 5, 11, 12}) {
    INFO("at step " << step);
    const ScratchFolder scratch;
    Run<TestType> run(scratch / "run");
    run.on_step = once_at(step);
    CHECK_THROWS_AS(run.trainer.run(), Interrupted);
    CHECK(run.agrees());
    CHECK(run.trainer.run() == StopReason::finished);
    check_whole(run, scratch);
  }
}

TEMPLATE_LIST_TEST_CASE("Trainer: thrown out of by on_evaluation, it still saves the end",
                        "[interrupted]", Backends) {
  for (const int step : {5, 10, 12}) {
    INFO("at step " << step);
    const ScratchFolder scratch;
    Run<TestType> run(scratch / "run");
    run.on_evaluation = once_at(step);
    CHECK_THROWS_AS(run.trainer.run(), Interrupted);
    CHECK(run.trainer.run() == StopReason::finished);
    check_whole(run, scratch);
  }
}

TEMPLATE_LIST_TEST_CASE("Trainer: thrown out of where it would have paused, it pauses",
                        "[interrupted]", Backends) {
  for (const int thrown_at : {6, 7}) {
    const ScratchFolder scratch;
    Run<TestType> run(scratch / "run", /*pause_at=*/7);
    run.on_step = once_at(thrown_at);
    CHECK_THROWS_AS(run.trainer.run(), Interrupted);
    CHECK(run.trainer.run() == StopReason::paused);
    CHECK(run.trainer.state().step == 7);
    CHECK(saved_step(scratch / "run") == 7);
    CHECK(run.trainer.run() == StopReason::finished);
    check_whole(run, scratch);
  }
}

TEMPLATE_LIST_TEST_CASE("Trainer: resumed after it has run, it writes no row twice",
                        "[interrupted]", Backends) {
  const ScratchFolder scratch;
  Run<TestType> run(scratch / "run");
  run.on_step = once_at(8);
  CHECK_THROWS_AS(run.trainer.run(), Interrupted);
  CHECK(run.trainer.resume().empty());
  CHECK(run.trainer.state().step == 5);
  CHECK(run.trainer.run() == StopReason::finished);
  check_whole(run, scratch);
}

TEMPLATE_LIST_TEST_CASE("Trainer: half an update leaves nothing in the gradients", "[interrupted]",
                        Backends) {
  const ScratchFolder scratch;
  Run<TestType> run(scratch / "run");
  CHECK(run.trainer.options().accumulation == 2);
  // A token that the second batch of update 3 reads, and no batch before it.
  const TrainerOptions o = run.trainer.options();
  const RandomWindows windows(run.text.train, o.sequences, run.trainer.options().length, o.seed);
  const auto reads = [&](std::int64_t step, int part, const std::int32_t* token) {
    RandomWindows all = windows;
    const Batch batch = all.sample(step, part * o.sequences);
    std::vector<std::int32_t> text(run.text.train);
    const auto at = std::size_t(token - run.text.train.data());
    text[at] = 64;
    RandomWindows changed(text, o.sequences, o.length, o.seed);
    const std::vector<std::int32_t> before(batch.tokens,
                                           batch.tokens + batch.sequences * batch.length),
        before_targets(batch.targets, batch.targets + batch.sequences * batch.length);
    const Batch now = changed.sample(step, part * o.sequences);
    return !std::equal(before.begin(), before.end(), now.tokens) ||
           !std::equal(before_targets.begin(), before_targets.end(), now.targets);
  };
  std::size_t found = 0;
  for (std::size_t i = 0; i < run.text.train.size() && found == 0; ++i) {
    const std::int32_t* const token = run.text.train.data() + i;
    if (*token == 64 || !reads(2, 1, token)) continue;
    bool earlier = reads(2, 0, token);
    for (int step = 0; step < 2; ++step)
      for (int part = 0; part < 2; ++part) earlier = earlier || reads(step, part, token);
    if (!earlier) found = i;
  }
  REQUIRE(found > 0);
  const std::int32_t before = std::exchange(run.text.train[found], 1000);
  CHECK(has(message_of([&] { run.trainer.run(); }), "1000"));
  CHECK(run.trainer.state().step == 2);
  CHECK(run.agrees());
  run.text.train[found] = before;
  CHECK(run.trainer.run() == StopReason::finished);
  check_whole(run, scratch);
}

TEMPLATE_LIST_TEST_CASE("Trainer: a callback cannot run it again", "[interrupted]", Backends) {
  const ScratchFolder scratch;
  Run<TestType> run(scratch / "run");
  std::string why;
  run.on_step = [&](std::int64_t step) {
    if (step != 3) return;
    why = broken_contract([&] { run.trainer.run(); });
  };
  CHECK(run.trainer.run() == StopReason::finished);
  CHECK(has(why, "Trainer::run was called while it runs"));
  run.on_step = nullptr;
  check_whole(run, scratch);
}

TEMPLATE_LIST_TEST_CASE("Checkpoint: none between queue and collect", "[interrupted]", Backends) {
  const ScratchFolder scratch;
  Run<TestType> run(scratch / "run");
  RandomWindows windows(run.text.train, 2, 16, 1);
  PendingStep<TestType> step;
  run.model.forward_backward(windows.sample(0));
  run.optimizer.queue(step);
  CHECK(run.optimizer.queued() == 1);
  const auto save = [&] {
    save_checkpoint(run.model, run.optimizer, TrainState{.step = 1}, scratch / "model");
  };
  const auto load = [&] { load_checkpoint(run.model, run.optimizer, scratch / "model"); };
  for (const std::string& why : {message_of(save), message_of(load)}) {
    CHECK(is_sentence(why));
    CHECK(has(why, "an update is queued and not collected; collect it first"));
  }
  CHECK_FALSE(std::filesystem::exists(scratch / "model"));
  run.optimizer.collect(step);
  CHECK(run.optimizer.queued() == 0);
  CHECK(message_of(save) == "");
  CHECK(message_of(load) == "");
  CHECK(run.optimizer.updates() == 1);
}

TEMPLATE_LIST_TEST_CASE("queue and collect: in order, once each", "[interrupted]", Backends) {
  const auto refused = [](const auto& f) { return !broken_contract(f).empty(); };
  const ScratchFolder scratch;
  Run<TestType> run(scratch / "run");
  RandomWindows windows(run.text.train, 2, 16, 1);
  PendingStep<TestType> first, second, never;
  typename Run<TestType>::Model::Pending pass, no_pass;
  run.model.queue(pass, windows.sample(0));
  CHECK(refused([&] { run.model.collect(no_pass); }));
  CHECK(has(message_of([&] { run.model.expert_load(0); }), "no pass of it was collected"));
  CHECK(run.model.collect(pass).loss.tokens == 32);
  CHECK(refused([&] { run.model.collect(pass); }));
  run.optimizer.queue(first);
  run.model.forward_backward(windows.sample(1));
  run.optimizer.queue(second);
  CHECK(refused([&] { run.optimizer.collect(second); }));
  CHECK(refused([&] { run.optimizer.collect(never); }));
  CHECK(refused([&] { run.optimizer.set_updates(7); }));
  run.optimizer.collect(first);
  CHECK(refused([&] { run.optimizer.collect(first); }));
  run.optimizer.collect(second);
  CHECK(run.optimizer.updates() == 2);
  CHECK(refused([&] { run.optimizer.set_updates(-1); }));
  CHECK(refused([&] { run.optimizer.set_skipped(-1); }));
  CHECK(run.optimizer.updates() == 2);
}

}  // namespace
