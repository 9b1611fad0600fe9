#pragma once
#include <algorithm>
#include <cstdint>
#include <moe/core/config.hpp>

// The models to choose from, with the parameters and memory that the library would count for each,
// computed without compiling the model.

namespace scale {

inline constexpr int rungs = 256;

/// Rung 1, 2, ... of the ladder: dim = 64 rung, one head and one layer for every 64 of width (at
/// least two layers), experts of hidden 4 dim. Rung 6 is the mixture of exp5.
/// experts = 0: a dense model.
constexpr moe::ModelConfig ladder(int rung, int vocab, int context, int experts, int top_k) {
  moe::ModelConfig config{.vocab = vocab,
                          .dim = 64 * rung,
                          .layers = std::max(2, rung),
                          .heads = rung,
                          .hidden = 4 * 64 * rung,
                          .context = context,
                          .scale_embedding = true,
                          .norm = moe::Norm::rms,
                          .position = moe::Position::rope_interleaved,
                          .activation = moe::Activation::silu};
  if (experts > 0) config.moe = {.experts = experts, .top_k = top_k};
  return config;
}

/// Counts of parameters. Muon updates the `hidden` ones, AdamW the others.
struct Parameters {
  std::int64_t total = 0, active = 0, embedding = 0, hidden = 0;
};

/// As moe::parameter_count, for a config of the ladder:  V d + L (4 d^2 + 2 d + E (1 + 8 d) d) + d.
/// Test: tests/lab/scale_model.cpp.
constexpr Parameters count(const moe::ModelConfig& c) {
  const std::int64_t d = c.dim, layers = c.layers, experts = c.moe.experts;
  const std::int64_t attention = 4 * d * d, expert = 2 * d * c.expert_hidden();
  const std::int64_t all = std::max<std::int64_t>(1, experts) * expert;
  const std::int64_t used = (experts > 0 ? c.moe.top_k : 1) * expert;
  Parameters p;
  p.embedding = std::int64_t(c.vocab) * d;
  p.hidden = layers * (attention + all);
  p.total = p.embedding + p.hidden + layers * (2 * d + experts * d) + d;
  p.active = p.total - layers * (all - used);
  return p;
}

/// Bytes of one number. 4 everywhere is what this library's float backend has.
struct Widths {
  double weight = 4, gradient = 4, state = 4, activation = 4;
};

/// Bytes on one device.
struct Memory {
  double weights = 0, gradients = 0, optimizer = 0, activations = 0;

  double total() const { return weights + gradients + optimizer + activations; }
};

/// How many numbers forward keeps for backward, for one token.
constexpr double kept_of_token(const moe::ModelConfig& c) {
  const double d = c.dim, layers = c.layers, experts = c.moe.experts, k = c.moe.top_k;
  const double h = c.expert_hidden();
  const double feed_forward = experts > 0 ? k * h + 2 * experts + 6 * k + 3 : h;
  return layers * (6 * d + c.heads + 2 + feed_forward) + d + 4;
}

/// How many numbers a batch of `tokens` needs: those kept for backward, the tables of the rotary
/// positions, and the scratch memory that layers and head use one after another. The head computes
/// its logits some rows at a time.
constexpr double activation_numbers(const moe::ModelConfig& c, double tokens) {
  const double d = c.dim, experts = c.moe.experts, k = c.moe.top_k, h = c.expert_hidden();
  const double feed_forward = experts > 0 ? 2 * k * h + experts + 2 * k : 2 * h;
  const double block = tokens * (2 * d + std::max(4 * d, feed_forward));
  const double head = tokens * 2 * d + std::clamp((1 << 19) / c.vocab, 256, 4096) * double(c.vocab);
  const double rotation = double(c.layers) * c.context * c.head_dim();
  return tokens * (kept_of_token(c) + d) + rotation + std::max(block, head);
}

/// How many numbers the optimizer needs: Muon's momentum of the hidden matrices, AdamW's two
/// moments of the other parameters, the scratch memory in which the experts of a layer are
/// orthogonalised together, and the tables of chunks of 1,024 parameters, 60 bytes for each.
constexpr double optimizer_numbers(const moe::ModelConfig& c) {
  const Parameters p = count(c);
  const double d = c.dim, h = c.expert_hidden(), layers = c.layers, experts = c.moe.experts;
  const double together = std::min(std::max(4.0, experts), std::max(1.0, experts) * layers);
  const double wide = together * (2 * d * h + 2 * d * d);
  const double square = std::min(4.0, 4 * layers) * 4 * d * d;
  const double tables = double(p.total) / 1024 * 15;
  return double(p.hidden) + 2 * double(p.total - p.hidden) + std::max(wide, square) + tables;
}

/// The memory of training with batches of `tokens`.   Test: tests/lab/scale_model.cpp compares it
/// with lab::make_plan.
constexpr Memory memory(const moe::ModelConfig& c, std::int64_t tokens, const Widths& bytes) {
  const double total = double(count(c).total);
  return {total * bytes.weight, total * bytes.gradient, optimizer_numbers(c) * bytes.state,
          activation_numbers(c, double(tokens)) * bytes.activation};
}

}  // namespace scale
