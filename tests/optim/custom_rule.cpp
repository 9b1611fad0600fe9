#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/model/memory.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/optimizer.hpp>
#include <moe/train/trainer.hpp>

#include "../../examples/lion.hpp"
#include "catch.hpp"
#include "model.hpp"
#include "train/tiny.hpp"

// An optimizer rule of a user's own (examples/lion.hpp): no line of the library knows it. Trainer,
// checkpoints and plans work with it as with any other rule.

namespace {

using namespace moe::test;

/// Largest difference after some steps between LionRule and scalar code for every matrix.
template <class B>
double error_of_lion() {
  TinyModel<B> model;
  const LionRule rule{.lr = 0.01, .weight_decay = 0.5};
  moe::Optimizer optimizer{model, {.clip = 2}, moe::ExpertBiasRule{}, rule, moe::AdamWRule{}};
  Values expected = values(model.params()), momentum;
  for (int t = 1; t <= 4; ++t) {
    model.draw_grads(std::uint64_t(t));
    const Values grads = values(model.grads());
    const double norm = norm_of(grads), rate = 0.01 / t;
    for (const auto& [name, grad] : grads) {
      if (!decayed(name)) continue;
      std::vector<double>&p = expected[name], &m = momentum[name];
      m.resize(p.size());
      for (std::size_t i = 0; i < p.size(); ++i) {
        const double g = grad[i] * std::min(1.0, 2 / norm), u = 0.9 * m[i] + 0.1 * g;
        p[i] -= rate * (0.5 * p[i] + (u > 0 ? 1 : u < 0 ? -1 : 0));
        m[i] = 0.99 * m[i] + 0.01 * g;
      }
    }
    CHECK(optimizer.step(1.0 / t).lr == rule.lr * (1.0 / t));
  }
  double worst = 0;
  for (const auto& [name, p] : values(model.params()))
    if (decayed(name)) worst = std::max(worst, largest_difference(p, expected.at(name)));
  return worst;
}

struct LionRun {
  TinyBackend backend{1};
  TinyTransformer model{backend, tiny_options()};
  moe::Optimizer<TinyTransformer, moe::ExpertBiasRule, LionRule, moe::AdamWRule> optimizer{
      model, {.clip = 1}, {}, {.lr = 1e-3}, {.lr = 3e-3}};
  TinyText text;
  moe::Trainer<TinyTransformer, Lion<TinyTransformer>> trainer;

  explicit LionRun(const std::string& out, int pause_at = 0)
      : trainer(model, optimizer, text.train, text.validation, [&] {
          moe::TrainerOptions options = tiny_run_options(out);
          options.pause_at = pause_at;
          return options;
        }()) {}
};

}  // namespace

TEST_CASE("A rule of a user's own: equals the scalar rule", "[optim]") {
  CHECK(error_of_lion<moe::Reference<double>>() < 1e-13);
  CHECK(error_of_lion<moe::Cpu<float>>() < 2e-6);
}

TEST_CASE("A rule of a user's own: a run is saved, and resumed with the same bits", "[optim]") {
  const ScratchFolder scratch;
  LionRun whole(scratch / "whole");
  CHECK(whole.trainer.run() == moe::StopReason::finished);
  const double loss = whole.trainer.state().last_loss;
  CHECK(loss < std::log(65));  // that of guessing

  {
    LionRun first(scratch / "parts", 5);
    CHECK(first.trainer.run() == moe::StopReason::paused);
  }
  LionRun second(scratch / "parts");
  CHECK(second.trainer.resume().empty());
  CHECK(second.optimizer.updates() == 5);
  CHECK(second.trainer.run() == moe::StopReason::finished);
  CHECK(second.trainer.state().last_loss == loss);
  CHECK((state_of(second.model, second.optimizer) == state_of(whole.model, whole.optimizer)));

  const moe::Safetensors file(scratch / "whole/last/optimizer.safetensors");
  CHECK(file.contains("lion.blocks.0.attn.q.weight"));
  CHECK(file.contains("second.final_norm.weight"));
  CHECK_FALSE(file.contains("lion.final_norm.weight"));

  moe::AdamW adamw(whole.model);
  CHECK(has(message_of([&] { moe::load_checkpoint(whole.model, adamw, scratch / "whole/last"); }),
            "it is of another model or optimizer"));
}

TEST_CASE("A rule of a user's own: its memory is planned", "[optim]") {
  LionRun run("");
  const auto memory = moe::training_memory<TinyTransformer, Lion<TinyTransformer>>(4 * 16);
  CHECK(memory.optimizer == Lion<TinyTransformer>::bytes_needed());
  std::size_t states = 0;
  run.optimizer.for_each_state([&](const std::string&, auto& leaf) { states += leaf.size; });
  CHECK(memory.optimizer > states * sizeof(float));
  CHECK(memory.optimizer < moe::AdamW<TinyTransformer>::bytes_needed());
}

TEST_CASE("Optimizer: a leaf that no rule takes is named", "[error]") {
  TinyModel<moe::Reference<double>> model;
  CHECK(message_of([&] {
          moe::Optimizer{model, {}, moe::ExpertBiasRule{}, LionRule{}};
        }) ==
        "moe: cannot build an optimizer for a model with the leaf 'blocks.0.gain': none of its "
        "rules takes that; add one that takes what is left, as AdamWRule");
}

TEST_CASE("Optimizer: the first rule that takes a leaf updates it", "[optim]") {
  TinyModel<moe::Reference<double>> model;
  moe::Optimizer optimizer{
      model, {}, LionRule{.lr = 0.5}, moe::ExpertBiasRule{.rate = 0.25}, moe::AdamWRule{.lr = 0}};
  const Values before = values(model.params());
  model.draw_grads(1);
  CHECK(optimizer.step().lr == 0.5);
  for (const auto& [name, p] : values(model.params())) {
    CAPTURE(name);
    const bool moved = p != before.at(name);
    CHECK(moved == (decayed(name) || has(name, "expert_bias")));
  }
}
