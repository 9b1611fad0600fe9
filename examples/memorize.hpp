#pragma once
#include <cstdio>
#include <moe/moe.hpp>

// Shared by the examples with parts of one's own: a model learns one line with them.

/// The structure of a model for that line, with experts in both layers.
constexpr moe::ModelConfig one_line{.vocab = 27,
                                    .dim = 32,
                                    .layers = 2,
                                    .heads = 2,
                                    .context = 16,
                                    .moe = {.experts = 4, .top_k = 2, .hidden = 64}};

/// Trains a model with a vocabulary of 27 and a context of 16 on one line of 16 tokens; true if the
/// loss falls to less than half.
template <class Model, class Optimizer>
bool memorizes_a_line(Model& model, Optimizer& optimizer) {
  std::int32_t text[17];
  for (int i = 0; i < 17; ++i) text[i] = i * 7 % 27;
  const moe::Batch line = moe::Batch::next_token(text);
  const double first = model.forward(line).cross_entropy;
  for (int step = 0; step < 50; ++step) {
    model.forward_backward(line);
    optimizer.step();
  }
  const double last = model.forward(line).cross_entropy;
  std::printf("loss on one memorized line: %.3f before, %.3f after 50 steps\n", first, last);
  return last < 0.5 * first;
}
template <class Model>
bool memorizes_a_line(Model& model) {
  moe::AdamW optimizer{model, {.lr = 1e-2}};
  return memorizes_a_line(model, optimizer);
}
