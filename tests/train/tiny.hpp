#pragma once
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/data/char_tokenizer.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <moe/train/trainer.hpp>
#include <moe_lab/text/generated_verse.hpp>
#include <string>
#include <vector>

#include "io/scratch.hpp"

// The smallest run that has everything: experts, dropout, router noise, an expert bias, Muon.

namespace moe::test {

inline constexpr ModelConfig tiny_config{
    .vocab = 65,
    .dim = 16,
    .layers = 2,
    .heads = 2,
    .context = 16,
    .moe = {.experts = 4, .top_k = 2, .hidden = 16, .expert_bias = true}};
using TinyBackend = Cpu<float>;
using TinyTransformer = Transformer<tiny_config, TinyBackend>;

inline Options tiny_options(std::uint64_t seed = 1) {
  return {.max_tokens = 64,
          .dropout = {.attention = 0.1, .expert = 0.1, .ffn_output = 0.1},
          .router_noise = 0.1,
          .z_weight = 0.001,
          .seed = seed};
}

/// Training and validation tokens.
struct TinyText {
  std::vector<std::int32_t> train, validation;
  TinyText() {
    const std::string text = lab::generated_verse(4000, 1);
    const auto tokens = CharTokenizer(text).encode(text);
    train.assign(tokens.begin(), tokens.begin() + 3500);
    validation.assign(tokens.begin() + 3500, tokens.end());
  }
};

inline TrainerOptions tiny_run_options(const std::string& out, int steps = 12) {
  return {.steps = steps,
          .sequences = 4,
          .accumulation = 2,
          .log_every = 1,
          .eval_every = 5,
          .seed = 3,
          .out = out};
}

/// Every parameter and state value, by name.
template <class Model, class Optimizer>
std::vector<std::pair<std::string, std::vector<float>>> state_of(Model& model,
                                                                 Optimizer& optimizer) {
  std::vector<std::pair<std::string, std::vector<float>>> all;
  const auto add = [&](const std::string& name, auto& leaf) {
    all.emplace_back(name, std::vector<float>(leaf.data, leaf.data + leaf.size));
  };
  for_each_named_leaf(add, "", model.params());
  optimizer.for_each_state(add);
  return all;
}

/// A model with its optimizer after some updates.
struct TinyRun {
  TinyBackend backend{1};
  TinyTransformer model;
  Muon<TinyTransformer> optimizer;
  TinyText text;

  explicit TinyRun(std::uint64_t seed = 1, int updates = 0)
      : model(backend, tiny_options(seed)), optimizer(model) {
    RandomWindows windows(text.train, 4, 16, seed);
    for (int i = 0; i < updates; ++i) {
      model.forward(windows.sample(i));
      model.backward();
      optimizer.step();
    }
  }
  auto state() { return state_of(model, optimizer); }
};

}  // namespace moe::test
