#pragma once
#include <concepts>
#include <cstdint>
#include <moe/backend.hpp>
#include <moe/check_option.hpp>

namespace moe {

/// Dropout rates by site, all in [0, 1); 0 is off.
struct DropoutRates {
  double embedding = 0;
  double attention = 0;  // on the probabilities
  double attention_output = 0;
  double expert = 0;  // between the activation and the second matrix
  double ffn_output = 0;
  double final = 0;  // before the head
};

/// The run-time numbers of a model; its structure is ModelConfig.
struct Options {
  int max_tokens = 0;  // largest batch, in tokens
  double norm_eps = 1e-5;
  double rope_base = 10000;
  DropoutRates dropout = {};
  double router_noise = 0;  // standard deviation added to the router logits in training
  double balance_weight = 0.01;
  double z_weight = 0;
  double entropy_weight = 0;
  double init_std = 0.02;
  bool uniform_routing = false;  // experts by turns whatever the router says: for measuring speed
  std::uint64_t seed = 0;
};

/// What is left when a model is built: sizes are computed in int, so max_tokens has an upper end,
/// and numbers must still be what they are in T, the type of the model's sums. A negative
/// entropy_weight makes routers more certain; the other weights reward the opposite of what they
/// are for when they are negative, without an end.
/// Errors: moe::Error for the first option that makes no sense, with its value and its rule.
/// Test: tests/options.cpp.
template <class T>
void check_options(const Options& o, int most_tokens) {
  const detail::OptionCheck check{"build a model", "Options"};
  check(o.max_tokens >= 1 && o.max_tokens <= most_tokens, "max_tokens", o.max_tokens,
        "from 1 to " + std::to_string(most_tokens));
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
}

/// What one pass through the model is: the same for every layer but for `layer`.
struct Pass {
  const Options* options;
  int length;     // tokens of each sequence
  int start = 0;  // position of each sequence's first token
  bool training = false;
  std::uint64_t step = 0;  // of the random streams
  int layer = 0;
  int moe_layers = 1;     // each auxiliary loss is averaged over them
  double loss_scale = 1;  // of backward: 1 / number of accumulated batches

  /// The dropout of a site in this layer; off outside training.
  Dropout dropout(double rate, Site site) const {
    return {training ? rate : 0, options->seed, stream(step, std::uint32_t(layer), site)};
  }
};

/// A layer: no state, three aggregates, two functions. Params live for the run, Cache from forward
/// to backward, Scratch inside one call. Forward writes y and Cache; backward adds to dx and grad.
/// The library's own layers take a last argument `add`: false lets them write dx instead, which
/// saves setting it to zero.
template <class L, class B>
concept Layer = Backend<B> &&
    requires(B& be, const Pass& pass, typename L::Params& params, typename L::Cache& cache,
             typename L::Scratch& scratch, Rows<const Scalar<B>, L::in> x,
             Rows<Scalar<B>, L::out> y, Rows<const Scalar<B>, L::out> dy,
             Rows<Scalar<B>, L::in> dx) {
  L::forward(be, pass, params, x, y, cache, scratch);
  L::backward(be, pass, params, x, cache, dy, dx, params, scratch);
};

/// Shorthands for moving rows.
template <Backend B, class T, int Cols, int PerToken>
void zero(B& be, Rows<T, Cols, PerToken> x) {
  be.zero(x.data, std::size_t(x.count) * Cols * sizeof(T));
}
template <Backend B, class T, int Cols, int PerToken>
void copy(B& be, Rows<T, Cols, PerToken> to, Rows<const T, Cols, PerToken> from) {
  be.copy(to.data, from.data, std::size_t(from.count) * Cols * sizeof(T));
}

}  // namespace moe
