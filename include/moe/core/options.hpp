#pragma once
#include <cstdint>
#include <moe/core/check_option.hpp>
#include <moe/core/isa.hpp>
#include <string>

namespace moe::inline MOE_ISA {

/// Dropout rates by site, all in [0, 1). 0 is off.
struct DropoutRates {
  double embedding = 0;
  double attention = 0;  // on the attention probabilities
  double attention_output = 0;
  double expert = 0;  // between the activation and the second matrix
  double ffn_output = 0;
  double final = 0;  // before the head
};

/// The run-time options of a model. Its structure is ModelConfig.
struct Options {
  int batch = 1;       // largest batch, in sequences of the model's context
  int max_tokens = 0;  // largest batch in tokens; 0: batch * context
  double norm_eps = 1e-5;
  double rope_base = 10000;
  DropoutRates dropout = {};
  double router_noise = 0;  // standard deviation of the noise on router logits in training
  // Of the auxiliary losses of routers (Loss): total = cross_entropy + balance_weight * balance +
  // z_weight * z - entropy_weight * entropy.
  double balance_weight = 0.01, z_weight = 0, entropy_weight = 0;
  double init_std = 0.02;
  bool round_robin_routing = false;  // experts take turns, the router is ignored: to measure speed
  std::uint64_t seed = 0;
};

/// Returns the options of a model with max_tokens filled in, after checking them. max_tokens has an
/// upper bound because sizes are computed in int. The other numbers must be representable in T, the
/// type of the model's sums.
/// entropy_weight may be negative, which makes routers more certain. The other weights may not: a
/// negative one would reward what it is meant to penalize, without bound.
/// Errors: moe::Error for the first invalid option, with its value and its rule.
/// Test: tests/core/options.cpp.
template <class T>
Options checked_options(Options o, int context, int most_tokens) {
  const detail::OptionCheck check{"build a model", "Options"};
  check(o.max_tokens >= 0 && o.max_tokens <= most_tokens, "max_tokens", o.max_tokens,
        "from 1 to " + std::to_string(most_tokens) + ", or 0 for batch * context");
  check(o.max_tokens > 0 || (o.batch >= 1 && o.batch <= most_tokens / context), "batch", o.batch,
        "from 1 to " + std::to_string(most_tokens / context));
  if (o.max_tokens == 0) o.max_tokens = o.batch * context;
  check.positive<T>("norm_eps", o.norm_eps);
  check(o.rope_base >= 1 && detail::OptionCheck::fits<T>(o.rope_base), "rope_base", o.rope_base,
        "finite, 1 or more");
  const DropoutRates& d = o.dropout;
  check.below_one("dropout.embedding", d.embedding);
  check.below_one("dropout.attention", d.attention);
  check.below_one("dropout.attention_output", d.attention_output);
  check.below_one("dropout.expert", d.expert);
  check.below_one("dropout.ffn_output", d.ffn_output);
  check.below_one("dropout.final", d.final);
  check.not_negative<T>("router_noise", o.router_noise);
  check.not_negative<T>("balance_weight", o.balance_weight);
  check.not_negative<T>("z_weight", o.z_weight);
  check.finite<T>("entropy_weight", o.entropy_weight);
  check.not_negative<T>("init_std", o.init_std);
  return o;
}

}  // namespace moe
