#include <moe/optim/adamw.hpp>

#include "catch.hpp"
#include "model.hpp"

using namespace moe::test;
using Model = TinyModel<moe::Reference<double>>;

namespace {

/// Largest difference after some steps between AdamW and a scalar AdamW for every tensor.
template <class B>
double error_of_adamw(double grad_size) {
  TinyModel<B> model;
  const moe::AdamWOptions o{.lr = 0.01, .weight_decay = 0.3, .clip = 2};
  moe::AdamW optimizer{model, o};
  Values expected = values(model.params());
  std::map<std::string, ScalarAdamW> scalar;
  for (int t = 1; t <= 4; ++t) {
    model.draw_grads(std::uint64_t(t), grad_size);
    Values grads = values(model.grads());
    const double norm = norm_of(grads), factor = 1.0 / t;
    for (auto& [name, g] : grads) {
      if (has(name, "expert_bias")) {
        for (std::size_t i = 0; i < g.size(); ++i)
          expected[name][i] -= g[i] > 0 ? 1e-3 : g[i] < 0 ? -1e-3 : 0;
        continue;
      }
      for (double& value : g) value *= std::min(1.0, 2 / norm);
      ScalarAdamW& rule = scalar[name];
      rule.lr = 0.01 * factor;
      rule.beta1 = 0.9;
      rule.beta2 = 0.95;
      rule.eps = 1e-8;
      rule.weight_decay = decayed(name) ? 0.3 : 0;
      rule.step(expected[name], g, t);
    }
    const moe::StepReport report = optimizer.step(factor);
    CHECK(!report.skipped);
    CHECK(std::abs(report.grad_norm - norm) < 1e-6 * norm);
    CHECK(std::abs(report.clip_factor - std::min(1.0, 2 / norm)) < 1e-6);
    CHECK(std::abs(report.lr - 0.01 * factor) < 1e-15);
  }
  CHECK(optimizer.updates() == 4);
  for (const auto& [name, g] : values(model.grads())) CHECK(g == std::vector<double>(g.size()));
  return largest_difference(values(model.params()), expected);
}

}  // namespace

TEST_CASE("AdamW: equals the scalar rule, with and without clipping", "[optim]") {
  for (const double size : {1e-3, 1.0}) {
    CHECK(error_of_adamw<moe::Reference<double>>(size) < 1e-13);
    CHECK(error_of_adamw<moe::Reference<float>>(size) < 2e-6);
#ifdef MOE_TEST_HAS_CPU
    CHECK(error_of_adamw<moe::Cpu<double>>(size) < 1e-13);
    CHECK(error_of_adamw<moe::Cpu<float>>(size) < 2e-6);
#endif
  }
}

TEST_CASE("AdamW: the first step in numbers", "[golden]") {
  Model model;
  moe::AdamW optimizer{model, {.lr = 0.1, .weight_decay = 0.5, .clip = 10}};
  model.params().head.data[0] = 2;
  model.params().blocks[0].gain.data[0] = 2;
  model.grads().head.data[0] = 3;
  model.grads().blocks[0].gain.data[0] = -4;
  const moe::StepReport report = optimizer.step();
  CHECK(report.grad_norm == 5);
  // Bias correction makes the first step lr * sign(g): 2 * (1 - 0.1 * 0.5) - 0.1 and 2 + 0.1.
  CHECK(std::abs(model.params().head.data[0] - 1.8) < 1e-9);
  CHECK(std::abs(model.params().blocks[0].gain.data[0] - 2.1) < 1e-9);
}

TEST_CASE("AdamW: an expert bias moves against the sign of its load", "[optim]") {
  Model model;
  moe::AdamW optimizer{model, {.clip = 1e-9, .expert_bias_rate = 0.01}};
  auto& bias = model.params().blocks[0].expert_bias;
  auto& load = model.grads().blocks[0].expert_bias;
  for (int e = 0; e < 3; ++e) bias.data[e] = 1;
  load.data[0] = 70;
  load.data[1] = -0.5;
  optimizer.step(0.1);
  CHECK(bias.data[0] == 1 - 0.01);
  CHECK(bias.data[1] == 1 + 0.01);
  CHECK(bias.data[2] == 1);
  CHECK(load.data[0] == 0);
}

TEST_CASE("AdamW: every gradient is zero after an update", "[optim]") {
  Model model;
  moe::AdamW optimizer{model};
  model.draw_grads(1);
  CHECK(!optimizer.step().skipped);
  for (const auto& [name, value] : values(model.grads())) {
    CAPTURE(name);
    CHECK(std::count(value.begin(), value.end(), 0.0) == std::ptrdiff_t(value.size()));
  }
}

TEST_CASE("AdamW: a loss or gradient that is not finite changes no bit", "[optim]") {
  Model model;
  moe::AdamW optimizer{model};
  model.draw_grads(1);
  optimizer.step();
  const Values before = everything(model, optimizer);
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(),
                        std::numeric_limits<double>::infinity()};
  int skips = 0;
  for (const double value : bad) {
    model.draw_grads(2);
    model.grads().blocks[1].up.matrix(2)[0] = value;
    CHECK(optimizer.step().skipped);
    CHECK(everything(model, optimizer) == before);
    CHECK(norm_of(values(model.grads())) == 0);
    model.draw_grads(2);
    model.set_loss(value);
    CHECK(optimizer.step().skipped);
    CHECK(everything(model, optimizer) == before);
    CHECK(norm_of(values(model.grads())) == 0);
    skips += 2;
    CHECK(optimizer.skipped() == skips);
    CHECK(optimizer.consecutive_skips() == skips);
    CHECK(optimizer.updates() == 1);
  }
  model.draw_grads(3);
  CHECK(!optimizer.step().skipped);
  CHECK(optimizer.skipped() == skips);
  CHECK(optimizer.consecutive_skips() == 0);
  CHECK(optimizer.updates() == 2);
  CHECK(everything(model, optimizer) != before);
}

TEST_CASE("AdamW: too many skips in a row stop the run with a diagnosis", "[error]") {
  Model model;
  moe::AdamW optimizer{model, {.skip_limit = 3}};
  model.grads().head.data[0] = 5;
  optimizer.step();
  const auto spoil = [&] {
    model.grads().blocks[1].down.data[0] = std::numeric_limits<double>::quiet_NaN();
    optimizer.step();
  };
  spoil();
  spoil();
  optimizer.step();  // a good step in between restarts the count
  model.grads().head.data[0] = 5;
  optimizer.step();
  spoil();
  spoil();
  const Values before = everything(model, optimizer);
  CHECK(message_of(spoil) ==
        "moe: stopped training after update 3: 3 updates in a row were skipped because the "
        "gradient of 'blocks.1.down' was not finite (the last finite gradient norm was 5); "
        "go back to the last checkpoint and try a lower lr or clip");
  CHECK(everything(model, optimizer) == before);
  CHECK(optimizer.skipped() == 5);
  CHECK(norm_of(values(model.grads())) == 0);
}

TEST_CASE("AdamW: the diagnosis tells a loss from a gradient", "[error]") {
  Model model;
  moe::AdamW optimizer{model, {.skip_limit = 1}};
  const double infinity = std::numeric_limits<double>::infinity();
  model.set_loss(infinity);
  CHECK(has(message_of([&] { optimizer.step(); }), "because the loss was not finite"));
  model.set_loss(infinity);
  model.grads().position.data[0] = infinity;
  CHECK(has(message_of([&] { optimizer.step(); }),
            "because the loss and the gradient of 'position' was not finite"));
}

TEST_CASE("AdamW: restored state continues with the same bits", "[optim]") {
  Model model, resumed;
  moe::AdamW optimizer{model};
  for (std::uint64_t t = 0; t < 3; ++t) {
    model.draw_grads(t);
    optimizer.step();
  }
  moe::AdamW continued{resumed};
  Values saved = everything(model, optimizer);
  const auto restore = [&](const std::string& name, auto& leaf) {
    std::copy(saved.at(name).begin(), saved.at(name).end(), leaf.data);
  };
  moe::for_each_named_leaf(restore, "", resumed.params());
  continued.for_each_state(restore);
  model.draw_grads(9);
  optimizer.step();
  SECTION("with its count of updates") {
    continued.set_updates(3);
    continued.set_skipped(2, 1);
    CHECK(continued.skipped() == 2);
    CHECK(continued.consecutive_skips() == 1);
    resumed.draw_grads(9);
    continued.step();
    CHECK(everything(resumed, continued) == everything(model, optimizer));
  }
  SECTION("and with other bits when the count is left out") {
    resumed.draw_grads(9);
    continued.step();
    CHECK(everything(resumed, continued) != everything(model, optimizer));
  }
}

TEST_CASE("AdamW: state has two moments for every leaf but expert biases", "[optim]") {
  Model model;
  moe::AdamW optimizer{model};
  Values state;
  optimizer.for_each_state([&](const std::string& name, auto& leaf) {
    state[name] = std::vector<double>(leaf.data, leaf.data + leaf.size);
  });
  CHECK(state.size() == 2 * (3 + 2 * 6));
  CHECK(state.count("first.blocks.1.up") == 1);
  CHECK(state.count("second.blocks.1.up") == 1);
  CHECK(state.count("first.blocks.1.expert_bias") == 0);
  CHECK(optimizer.state_bytes() == 2 * (moe::bytes<Model::Params>() - 2 * moe::leaf_alignment));
  CHECK(moe::AdamW<Model>::bytes_needed() > optimizer.state_bytes());
}

TEST_CASE("AdamW: options out of range are refused", "[error]") {
  Model model;
  CHECK(message_of([&] {
          moe::AdamW{model, {.beta2 = 1}};
        }) ==
        "moe: cannot build an optimizer with AdamWOptions.beta2 = 1.000000: it must be in [0, 1); "
        "correct the option");
  CHECK(has(message_of([&] { moe::AdamW{model, {.clip = 0}}; }), "AdamWOptions.clip"));
  CHECK(has(message_of([&] { moe::AdamW{model, {.lr = -1}}; }), "AdamWOptions.lr"));
  CHECK(has(message_of([&] { moe::AdamW{model, {.eps = 0}}; }), "AdamWOptions.eps"));
  CHECK(has(message_of([&] { moe::AdamW{model, {.skip_limit = 0}}; }), "skip_limit"));
}
