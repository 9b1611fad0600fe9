#include "detached.hpp"

#include <functional>
#include <moe/generate/generate.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <utility>

#include "catch.hpp"
#include "train/run.hpp"

// What a device needs of the library: a training step that waits for nothing, does not allocate,
// gives no address of the host to the backend, and is a bounded number of launches.

namespace {

using namespace moe;
using namespace moe::test;
using Device = Detached<float>;
using Oracle = Reference<float>;

constexpr ModelConfig mixture{
    .vocab = 65,
    .dim = 32,
    .layers = 3,
    .heads = 4,
    .kv_heads = 2,
    .context = 16,
    .qk_norm = true,
    .moe = {.experts = 4, .top_k = 2, .hidden = 24, .every = 2, .expert_bias = true}};
constexpr ModelConfig dense = [] {
  ModelConfig c = mixture;
  c.norm = Norm::layer;
  c.position = Position::learned;
  c.activation = Activation::gelu;
  c.bias = true;
  c.tied = false;
  c.moe = {};
  return c;
}();

constexpr int sequences = 2, n = sequences * mixture.context;
Options options() {
  return {.max_tokens = n,
          .dropout = {.embedding = 0.1,
                      .attention = 0.1,
                      .attention_output = 0.1,
                      .expert = 0.1,
                      .ffn_output = 0.1,
                      .final = 0.1},
          .router_noise = 0.1,
          .z_weight = 0.001,
          .seed = 3};
}
struct Tokens {
  std::int32_t data[n + 1];
  Tokens() {
    for (int i = 0; i <= n; ++i) data[i] = (i * i + 5 * i / 3) % mixture.vocab;
  }
  Batch batch() const { return {data, data + 1, sequences, mixture.context}; }
};

/// The counts of one training step: of both passes, and of the update.
struct Counts {
  std::map<std::string, int> passes, update;
};

/// Makes three steps on a device and on the oracle, which must have the same bits, and counts the
/// second. Steps are collected one step late.
template <ModelConfig C, template <class> class Optimizer>
Counts train() {
  const Tokens tokens;
  Device device;
  Transformer<C, Device> model{device, options()};
  Optimizer<Transformer<C, Device>> optimizer{model};
  Oracle oracle;
  Transformer<C, Oracle> expected{oracle, options()};
  Optimizer<Transformer<C, Oracle>> expected_optimizer{expected};

  Counts counts;
  typename Transformer<C, Device>::Pending pass[2];
  PendingStep<Device> update[2];
  std::vector<double> losses, norms;
  const auto collect = [&](int i) {
    losses.push_back(model.collect(pass[i % 2]).loss.total);
    norms.push_back(optimizer.collect(update[i % 2]).grad_norm);
  };
  for (int i = 0; i < 3; ++i) {
    device.calls.clear();
    model.queue(pass[i % 2], tokens.batch());
    if (i == 1) counts.passes = device.calls;
    device.calls.clear();
    optimizer.queue(update[i % 2], 1.0 / (i + 1));
    if (i == 1) counts.update = device.calls;
    CHECK(std::isnan(update[i % 2].control.norm));  // has not arrived
    if (i > 0) collect(i - 1);
  }
  collect(2);
  CHECK(device.host_pointers == std::set<std::string>());

  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(expected.forward_backward(tokens.batch()).total == losses[i]);
    CHECK(expected_optimizer.step(1.0 / double(i + 1)).grad_norm == norms[i]);
  }
  std::size_t leaf = 0;
  for_each_leaf(
      [&](const auto& have, const auto& want) {
        std::vector<float> values(have.size);
        if (have.size > 0) device.download(values.data(), have.data, have.size * sizeof(float));
        CAPTURE(leaf++);
        CHECK(values == std::vector<float>(want.data, want.data + want.size));
      },
      model.params(), expected.params());
  return counts;
}

/// A step may upload its tokens, targets, number and learning rate, and says `later` what the host
/// wants to know. Nothing else involves the host.
void check_waits_for_nothing(const Counts& counts) {
  for (const auto* part : {&counts.passes, &counts.update})
    for (const char* verb : {"download", "synchronize", "wait", "allocate"}) {
      INFO(verb);
      CHECK(part->count(verb) == 0);
    }
  CHECK(counts.passes.at("upload") == 3);
  CHECK(counts.passes.at("later") == 1);
  CHECK(counts.update.at("upload") == 1);
  CHECK(counts.update.at("later") == 1);
}

TEST_CASE("A step on a device: AdamW, dense", "[detached]") {
  const Counts counts = train<dense, AdamW>();
  check_waits_for_nothing(counts);
  // The squares of chunks and of matrices, the decision; the factors of AdamW, and its update.
  CHECK(counts.update == std::map<std::string, int>{{"rows", 5}, {"upload", 1}, {"later", 1}});
}

TEST_CASE("A step on a device: AdamW, mixture", "[detached]") {
  const Counts counts = train<mixture, AdamW>();
  check_waits_for_nothing(counts);
  CHECK(counts.update == std::map<std::string, int>{{"rows", 6}, {"upload", 1}, {"later", 1}});
}

/// The stacks of matrices of one shape: of each, momentum with the squares of chunks, the inverse
/// norm, its product, and the descent.
void check_muon(const Counts& counts, int stacks, int others) {
  check_waits_for_nothing(counts);
  CHECK(counts.update == std::map<std::string, int>{{"rows", 4 * stacks + others},
                                                    {"symmetric_gemm", 10 * stacks},
                                                    {"batched_gemm", 5 * stacks},
                                                    {"upload", 1},
                                                    {"later", 1}});
}

TEST_CASE("A step on a device: Muon, dense", "[detached]") {
  // Shapes: q and output; k and v; up; down.
  check_muon(train<dense, Muon>(), 4, 5);
}

TEST_CASE("A step on a device: Muon, mixture", "[detached]") {
  // The experts have shapes of their own.
  check_muon(train<mixture, Muon>(), 6, 6);
}

TEST_CASE("Both passes on a device: the number of verbs", "[detached]") {
  const auto total = [](const Counts& counts) {
    int sum = 0;
    for (const auto& [verb, count] : counts.passes) sum += count;
    return sum;
  };
  CHECK(total(train<dense, AdamW>()) == 165);
  CHECK(total(train<mixture, AdamW>()) == 197);
}

TEST_CASE("Detached: notices what a device would", "[detached]") {
  Device device;
  auto* const memory = reinterpret_cast<float*>(device.allocate(64));
  const std::vector<float> host(16, 2.0f);
  const float on_stack[4] = {};
  device.upload(memory, host.data(), 64);
  CHECK(device.host_pointers.empty());
  device.gemm(1, 1, 1, {memory, 1}, {on_stack, 1}, memory, 1);
  CHECK(device.host_pointers.count("gemm") == 1);
  device.host_pointers.clear();
  device.rows(1, kernel::Add<float>{{host.data(), 4}, {memory, 4}});
  CHECK(device.host_pointers.size() == (scans_kernels ? 1 : 0));

  float late = 1;
  const auto ticket = device.later(&late, memory, sizeof late);
  CHECK((std::isnan(late) && !device.ready(ticket)));
  device.zero(memory, 64);
  device.wait(ticket);
  CHECK((late == 2 && device.ready(ticket)));  // as it was when `later` was called
}

TEST_CASE("Trainer on a device: the same run, told of one step late", "[detached]") {
  const ScratchFolder scratch;
  Run<Device> late(scratch / "late");
  Run<Oracle> prompt(scratch / "prompt");
  CHECK(late.trainer.run() == StopReason::finished);
  CHECK(prompt.trainer.run() == StopReason::finished);
  CHECK(late.backend.host_pointers == std::set<std::string>());
  CHECK(late.steps == prompt.steps);
  CHECK(late.losses == prompt.losses);
  CHECK(late.trainer.state().last_loss == prompt.trainer.state().last_loss);
  CHECK(late.trainer.state().tokens == prompt.trainer.state().tokens);
  CHECK(late.parameters() == prompt.parameters());
  // Three reports a step, of two passes and the update. Step 1 is told of when step 2 is queued.
  // Before an evaluation, after step 5, nothing is left to be told.
  CHECK(late.queued[0] == 6);
  CHECK(late.queued[3] == 15);
  CHECK(late.queued[4] == 15);
}

TEST_CASE("Trainer on a device: paused and resumed, it gives the bits of a whole run",
          "[detached]") {
  const ScratchFolder scratch;
  Run<Device> whole(scratch / "whole");
  CHECK(whole.trainer.run() == StopReason::finished);
  {
    Run<Device> first(scratch / "parts", 7);
    CHECK(first.trainer.run() == StopReason::paused);
    CHECK((first.trainer.state().step == 7 && first.agrees()));
  }
  Run<Device> second(scratch / "parts");
  CHECK(second.trainer.resume().empty());
  CHECK(second.trainer.run() == StopReason::finished);
  CHECK(second.parameters() == whole.parameters());
}

TEST_CASE("Trainer on a device: a request to stop that is made once is heard", "[detached]") {
  const ScratchFolder scratch;
  Run<Device> run(scratch / "run");
  bool stop = false;
  run.on_step = [&](std::int64_t step) { stop = stop || step == 2; };
  run.should_stop = [&] { return std::exchange(stop, false); };
  CHECK(run.trainer.run() == StopReason::stopped);
  CHECK((run.trainer.state().step == 3 && run.agrees()));  // the one that was queued meanwhile
  CHECK(read_manifest(scratch / "run/last").at("cursor").at("step").as_int("step") == 3);
}

TEST_CASE("Trainer on a device: what is thrown leaves counters that agree with the model",
          "[detached]") {
  const ScratchFolder scratch;
  Run<Device> run(scratch / "run");
  run.on_step = [](std::int64_t step) {
    if (step == 2) throw Error("the disk is full; make room");
  };
  CHECK_THROWS_AS(run.trainer.run(), Error);
  CHECK((run.trainer.state().step == 3 && run.agrees()));
  run.on_step = nullptr;
  CHECK(run.trainer.run() == StopReason::finished);
  Run<Device> whole(scratch / "whole");
  CHECK(whole.trainer.run() == StopReason::finished);
  CHECK(run.parameters() == whole.parameters());
}

TEST_CASE("Trainer on a device: a run that diverges loses nothing", "[detached]") {
  const ScratchFolder scratch;
  {
    Run<Device> run(scratch / "run");
    run.on_step = [&](std::int64_t step) {
      if (step != 6) return;
      const float spoiled =
          NAN;  // a parameter: from step 8 on, the next to be queued, no loss is a number
      run.backend.upload(run.model.params().final_norm.weight.data, &spoiled, sizeof spoiled);
    };
    CHECK_THROWS_AS(run.trainer.run(), Diverged);
    CHECK(run.optimizer.skipped() >= 2);
    CHECK(run.agrees());
  }
  Run<Device> again(scratch / "run");
  CHECK(again.trainer.resume().empty());
  CHECK(again.trainer.state().step == 5);  // the last evaluation
  CHECK(again.trainer.run() == StopReason::finished);
}

TEST_CASE("Generator on a device: the same text", "[detached]") {
  Device device;
  Oracle oracle;
  const Tokens tokens;
  Transformer<mixture, Device> model{device, options()};
  Transformer<mixture, Oracle> expected{oracle, options()};
  const std::vector<std::int32_t> prompt(tokens.data, tokens.data + 5);
  const SampleOptions sample{.tokens = 14, .seed = 2};  // beyond the context
  CHECK(generate_tokens(model, prompt, sample) == generate_tokens(expected, prompt, sample));
  CHECK(device.host_pointers == std::set<std::string>());
}

}  // namespace
