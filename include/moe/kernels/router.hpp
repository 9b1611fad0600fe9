#pragma once
#include <cstdint>
#include <moe/core/lane.hpp>
#include <moe/core/random.hpp>

namespace moe::inline MOE_ISA::kernel {

/// How a router turns logits into a choice of experts: the run-time values of one pass.
struct Routing {
  int top_k;
  bool sigmoid, renormalize, round_robin;
  double noise;  // standard deviation of the noise on logits; 0 outside training
  std::uint64_t seed, stream;
  const std::uint64_t* step = nullptr;  // as in Dropout
};

/// sigmoid(x) = 1 / (1 + exp(-x)), in a form that cannot overflow.
template <class W>
MOE_KERNEL W logistic(const W& x) {
  const bool negative = x < W(0);
  const W small = kernel::exp(negative ? x : W(-x));
  return (negative ? small : W(1)) / (W(1) + small);
}

/// log(sigmoid(x)) = -log(1 + exp(-x)). Finite even if sigmoid(x) underflows to 0.
template <class W>
MOE_KERNEL W log_logistic(const W& x) {
  const bool negative = x < W(0);
  return (negative ? x : W(0)) - kernel::log(W(1) + kernel::exp(negative ? x : W(-x)));
}

/// Routes one token. Scores: softmax(logits), or sigmoid(logits) for each expert by itself.
/// expert: the top_k experts by score + expert bias. Ties go to the higher logit, then to the
/// lower index.
/// gates: the scores of these experts, divided by their sum if `renormalize`.
/// probs: all scores, divided by their sum. lse: logsumexp(logits). stats: lse^2 and the entropy of
/// probs.
/// Sigmoid scores can underflow, so that their sum may be 0. Every division by a sum of scores is
/// therefore computed as a softmax over log scores, whose largest term is exp(0).
template <class W>
struct RouteForward {
  Table<W> logits;             // (n, experts); the noise is added in place
  Table<const W> expert_bias;  // (1, experts) or null
  Table<W> probs;              // (n, experts)
  Table<int> expert;           // (n, top_k)
  Table<W> gates;              // (n, top_k)
  Table<W> lse;                // (n, 1)
  Table<W> stats;              // (n, 2)
  Routing routing;

  static constexpr bool one_lane = true;
  MOE_KERNEL void operator()(const auto&, int r) const {
    const int experts = logits.cols;
    if (routing.noise > 0) {
      for (int e = 0; e < experts; ++e)
        logits(r, e) =
            logits(r, e) +
            W(routing.noise * normal(routing.seed, at_step(routing.stream, routing.step),
                                     std::uint64_t(r) * std::uint64_t(experts) + std::uint64_t(e)));
    }
    lse(r) = softmax(
        experts, [&](int e) { return W(logits(r, e)); }, &probs(r));
    if (routing.sigmoid)
      for (int e = 0; e < experts; ++e) probs(r, e) = logistic(W(logits(r, e)));
    choose_top_k(r);
    for (int j = 0; j < routing.top_k; ++j) gates(r, j) = probs(r, expert(r, j));
    // For softmax scores the logits serve as log scores: they differ by lse, which cancels.
    const auto log_score = [&](int e) {
      return routing.sigmoid ? log_logistic(W(logits(r, e))) : W(logits(r, e));
    };
    if (routing.renormalize)
      softmax(
          routing.top_k, [&](int j) { return log_score(expert(r, j)); }, &gates(r));
    if (routing.sigmoid) softmax(experts, log_score, &probs(r));
    W entropy(0);
    for (int e = 0; e < experts; ++e) entropy = entropy - probs(r, e) * log_or_zero(probs(r, e));
    stats(r, 0) = lse(r) * lse(r);
    stats(r, 1) = entropy;
  }
  /// to = softmax of x(0) ... x(n - 1). Returns their logsumexp.
  MOE_KERNEL static W softmax(int n, const auto& x, W* to) {
    W max = x(0), sum(0);
    for (int i = 0; i < n; ++i) {
      to[i] = x(i);
      if (max < to[i]) max = to[i];
    }
    for (int i = 0; i < n; ++i) {
      to[i] = kernel::exp(W(to[i] - max));
      sum = sum + to[i];
    }
    for (int i = 0; i < n; ++i) to[i] = to[i] / sum;
    return max + kernel::log(sum);
  }
  /// Chooses the experts of row r. Expects the scores in `probs`.
  MOE_KERNEL void choose_top_k(int r) const {
    const int experts = logits.cols;
    for (int j = 0; j < routing.top_k; ++j) {
      int best = -1;
      W max(0);
      for (int e = 0; e < experts; ++e) {
        bool taken = false;
        for (int i = 0; i < j; ++i) taken = taken || expert(r, i) == e;
        if (taken) continue;
        // Without an expert bias the scores have the order of the logits.
        const W value = expert_bias.data ? W(probs(r, e) + expert_bias(0, e)) : W(logits(r, e));
        if (best < 0 || max < value || (!(value < max) && logits(r, best) < logits(r, e))) {
          best = e;
          max = value;
        }
      }
      expert(r, j) = routing.round_robin ? (r * routing.top_k + j) % experts : best;
    }
  }
  MOE_KERNEL static W log_or_zero(const W& p) { return W(0) < p ? W(kernel::log(p)) : W(0); }
};

/// Gradient with respect to the logits of
///     <dgates, gates> + balance * experts * sum_e f_e P_e + z * mean(lse^2) - entropy * mean(H),
/// where P_e is the mean of probs and H the entropy of probs. The caller has already divided the
/// three weights by the number of rows. f_e, expert e's share of the slots, is a constant here.
template <class W>
struct RouteBackward {
  Table<const W> logits, probs;
  Table<const int> expert;
  Table<const W> gates, lse, dgates;
  const int* offset;  // (experts + 1): the first slot of each expert
  Table<W> dlogits;   // overwritten
  Routing routing;
  W balance, z, entropy;

  static constexpr bool one_lane = true;
  MOE_KERNEL void operator()(const auto&, int r) const {
    const int experts = logits.cols;
    // A gate is the exponential of a log score, so its gradient with respect to the log score is
    // dgates * gates. Renormalization removes the component of dgates along the gates. It is
    // measured relative to the first choice, so that identical experts give exactly zero.
    const W first = routing.renormalize ? W(dgates(r, 0)) : W(0);
    W along_gates(0), along_probs(0);
    for (int j = 0; j < routing.top_k; ++j)
      along_gates = along_gates + (dgates(r, j) - first) * gates(r, j);
    for (int e = 0; e < experts; ++e) along_probs = along_probs + dprob(r, e) * probs(r, e);
    for (int e = 0; e < experts; ++e) {
      W dlog_score = probs(r, e) * (dprob(r, e) - along_probs);
      for (int j = 0; j < routing.top_k; ++j)
        if (expert(r, j) == e)
          dlog_score = dlog_score + gates(r, j) * (routing.renormalize
                                                       ? W(dgates(r, j) - first - along_gates)
                                                       : W(dgates(r, j)));
      W share = probs(r, e);  // softmax(logits) of expert e
      if (routing.sigmoid) {
        dlog_score = dlog_score * logistic(W(-logits(r, e)));
        share = kernel::exp(W(logits(r, e) - lse(r)));
      } else if (!routing.renormalize) {
        dlog_score = dlog_score - share * along_gates;  // the log score is logit - lse
      }
      dlogits(r, e) = dlog_score + W(2) * z * lse(r) * share;
    }
  }
  /// Derivative of the balance and entropy terms with respect to probs[e].
  MOE_KERNEL W dprob(int r, int e) const {
    const int experts = logits.cols, slots = offset[experts];
    const W load = W(double(offset[e + 1] - offset[e]) / double(slots));
    return balance * W(double(experts)) * load +
           entropy * (RouteForward<W>::log_or_zero(probs(r, e)) + W(1));
  }
};

/// mean[c] = mean over the `count` rows of x[r][c].
template <class W>
struct ColumnMean {
  int count;
  Table<const W> x;
  Table<W> mean;
  static constexpr int sums = 1;
  template <class V>
  MOE_KERNEL void add(V* sum, Lane<V> i, int r) const {
    sum[0] = sum[0] + x[r][i];
  }
  template <class V>
  MOE_KERNEL void store(const V* sum, Lane<V> i, int) const {
    mean[0][i] = sum[0] / W(double(count));
  }
};

/// dbias[e] += slots of expert e - mean slots of an expert. The optimizer moves the expert bias
/// against its sign.
template <class W>
struct LoadExcess {
  int experts;
  const int* offset;
  Table<W> dbias;  // (1, experts)
  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each(experts, [&](auto i) {
      dbias[r][i] += generate(i, [&](int e) {
        return W(double(offset[e + 1] - offset[e]) - double(offset[experts]) / double(experts));
      });
    });
  }
};

}  // namespace moe::kernel
