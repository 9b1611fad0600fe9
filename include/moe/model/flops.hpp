#pragma once
#include <moe/core/config.hpp>

namespace moe::inline MOE_ISA {

/// Floating-point operations per token, by part of the model. A multiply-add counts as two.
struct TokenFlops {
  double projections = 0, attention = 0, experts = 0, dense = 0, router = 0, head = 0;

  double products() const { return projections + experts + dense + router + head; }
  double forward() const { return products() + attention; }
  /// Backward has two products for each one of forward. Attention has five for two, because it
  /// recomputes its probabilities.
  double backward() const { return 2 * products() + 2.5 * attention; }
  double training() const { return forward() + backward(); }
};

/// The operations that training needs, whatever the implementation does, for sequences of `length`
/// tokens (0: the context): causal attention over (length + 1) / 2 keys on average, only the top_k
/// and shared experts, and no embedding look-ups, norms, activations or optimizer.
///
/// With d = dim, q = kv_heads / heads, hidden widths f of an expert and h of a dense layer, L
/// layers, of which M have E experts: (4 + 4 q) d^2 L projections, 2 (length + 1) d L attention, 4
/// (top_k + shared_experts) d f M experts and 4 d h (L - M) dense (6 for 4 if gated), 2 d E M
/// router, 2 d V head.  Test: tests/model/flops.cpp.
///
///     const double gflops = moe::token_flops(config).training() * tokens_per_second * 1e-9;
constexpr TokenFlops token_flops(const ModelConfig& c, int length = 0) {
  const double d = c.dim, keys = length > 0 ? length : c.context;
  const double matrices = is_gated(c.activation) ? 6 : 4;
  const double mixtures = c.moe_layers(), dense_layers = c.layers - c.moe_layers();
  const double kv = double(c.kv_heads_or_default()) * c.head_dim();
  TokenFlops flops;
  flops.projections = (4 * d * d + 4 * d * kv) * c.layers;
  flops.attention = 2 * (keys + 1) * d * c.layers;
  flops.experts =
      matrices * (c.moe.top_k + c.moe.shared_experts) * d * c.expert_hidden() * mixtures;
  flops.dense = matrices * d * c.dense_hidden() * dense_layers;
  flops.router = 2 * d * c.moe.experts * mixtures;
  flops.head = 2 * d * c.vocab;
  return flops;
}

}  // namespace moe
