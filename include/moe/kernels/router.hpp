#pragma once
#include <cstdint>
#include <moe/core/lane.hpp>
#include <moe/core/random.hpp>

namespace moe::kernel {

/// How a router turns logits into a choice; run-time values of one pass.
struct Routing {
  int top_k;
  bool sigmoid, renormalise, uniform;
  double noise;  // standard deviation; 0 outside training
  std::uint64_t seed, stream;
};

/// sigmoid(x) = 1 / (1 + exp(-x)), in a form in which nothing overflows.
template <class T>
MOE_KERNEL T logistic(const T& x) {
  const bool negative = x < T(0);
  const T small = kernel::exp(negative ? x : T(-x));
  return (negative ? small : T(1)) / (T(1) + small);
}

/// log(sigmoid(x)) = -log(1 + exp(-x)): finite also where sigmoid(x) is too small for T.
template <class T>
MOE_KERNEL T log_logistic(const T& x) {
  const bool negative = x < T(0);
  return (negative ? x : T(0)) - kernel::log(T(1) + kernel::exp(negative ? x : T(-x)));
}

/// Scores of the experts: softmax(logits), or sigmoid(logits) each on its own.
/// probs: the scores over their sum. The k best of score + selection bias are chosen, among equals
/// the one with the higher logit, then with the lowest index; gates: their scores, over their sum
/// when renormalised. lse: logsumexp(logits); stats: lse^2 and the entropy of probs.
/// Scores may be too small for T, and a sum of them 0. What is over a sum is therefore a softmax
/// over log scores, whose largest term is exp(0).
template <class T>
struct RouteForward {
  Table<T> logits;             // (n, experts); the noise is added in place
  Table<const T> expert_bias;  // (1, experts) or null
  Table<T> probs;              // (n, experts)
  Table<int> expert;           // (n, top_k)
  Table<T> gates;              // (n, top_k)
  Table<T> lse;                // (n, 1)
  Table<T> stats;              // (n, 2)
  Routing routing;

  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each_index(1, [&](int) { route(r); });
  }
  MOE_KERNEL void route(int r) const {
    const int experts = logits.cols;
    if (routing.noise > 0) {
      for (int e = 0; e < experts; ++e)
        logits(r, e) =
            logits(r, e) +
            T(routing.noise * normal(routing.seed, routing.stream,
                                     std::uint64_t(r) * std::uint64_t(experts) + std::uint64_t(e)));
    }
    lse(r) = softmax(
        experts, [&](int e) { return T(logits(r, e)); }, &probs(r));
    if (routing.sigmoid)
      for (int e = 0; e < experts; ++e) probs(r, e) = logistic(T(logits(r, e)));
    choose(r);
    for (int j = 0; j < routing.top_k; ++j) gates(r, j) = probs(r, expert(r, j));
    // A softmax over logits is one over log scores: the sum of all scores cancels.
    const auto log_score = [&](int e) {
      return routing.sigmoid ? log_logistic(T(logits(r, e))) : T(logits(r, e));
    };
    if (routing.renormalise)
      softmax(
          routing.top_k, [&](int j) { return log_score(expert(r, j)); }, &gates(r));
    if (routing.sigmoid) softmax(experts, log_score, &probs(r));
    T entropy(0);
    for (int e = 0; e < experts; ++e) entropy = entropy - probs(r, e) * log_or_zero(probs(r, e));
    stats(r, 0) = lse(r) * lse(r);
    stats(r, 1) = entropy;
  }
  /// to = softmax of x(0) ... x(n - 1); gives their logsumexp.
  MOE_KERNEL static T softmax(int n, const auto& x, T* to) {
    T most = x(0), sum(0);
    for (int i = 0; i < n; ++i) {
      to[i] = x(i);
      if (most < to[i]) most = to[i];
    }
    for (int i = 0; i < n; ++i) {
      to[i] = kernel::exp(T(to[i] - most));
      sum = sum + to[i];
    }
    for (int i = 0; i < n; ++i) to[i] = to[i] / sum;
    return most + kernel::log(sum);
  }
  /// From the scores in probs.
  MOE_KERNEL void choose(int r) const {
    const int experts = logits.cols;
    for (int j = 0; j < routing.top_k; ++j) {
      int best = -1;
      T most(0);
      for (int e = 0; e < experts; ++e) {
        bool taken = false;
        for (int i = 0; i < j; ++i) taken = taken || expert(r, i) == e;
        if (taken) continue;
        // Without a bias the order of the scores is that of the logits.
        const T value = expert_bias.data ? T(probs(r, e) + expert_bias(0, e)) : T(logits(r, e));
        if (best < 0 || most < value || (!(value < most) && logits(r, best) < logits(r, e))) {
          best = e;
          most = value;
        }
      }
      expert(r, j) = routing.uniform ? (r * routing.top_k + j) % experts : best;
    }
  }
  MOE_KERNEL static T log_or_zero(const T& p) { return T(0) < p ? T(kernel::log(p)) : T(0); }
};

/// Gradient with respect to the logits of <dgates, gates> + balance * sum_e f_e P_e * experts
/// + z * mean lse^2 - entropy * mean H; the three weights are already divided by the row count.
/// f_e, the share of the assignments, has no gradient.
template <class T>
struct RouteBackward {
  Table<const T> logits, probs;
  Table<const int> expert;
  Table<const T> gates, lse, dgates;
  const int* offset;  // (experts + 1): slots of each expert
  Table<T> dlogits;   // written
  Routing routing;
  T balance, z, entropy;

  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each_index(1, [&](int) { backward(r); });
  }
  MOE_KERNEL void backward(int r) const {
    const int experts = logits.cols;
    // Gates are exponentials of log scores: their gradients are dgates times gates, less what
    // renormalising takes away. Counted from the first, so that experts which answer alike give
    // exactly no gradient.
    const T first = routing.renormalise ? T(dgates(r, 0)) : T(0);
    T along_gates(0), along_probs(0);
    for (int j = 0; j < routing.top_k; ++j)
      along_gates = along_gates + (dgates(r, j) - first) * gates(r, j);
    for (int e = 0; e < experts; ++e) along_probs = along_probs + dprob(r, e) * probs(r, e);
    for (int e = 0; e < experts; ++e) {
      T dlog_score = probs(r, e) * (dprob(r, e) - along_probs);
      for (int j = 0; j < routing.top_k; ++j)
        if (expert(r, j) == e)
          dlog_score = dlog_score + gates(r, j) * (routing.renormalise
                                                       ? T(dgates(r, j) - first - along_gates)
                                                       : T(dgates(r, j)));
      T share = probs(r, e);  // of softmax(logits)
      if (routing.sigmoid) {
        dlog_score = dlog_score * logistic(T(-logits(r, e)));
        share = kernel::exp(T(logits(r, e) - lse(r)));
      } else if (!routing.renormalise) {
        dlog_score = dlog_score - share * along_gates;  // log score = logit - lse
      }
      dlogits(r, e) = dlog_score + T(2) * z * lse(r) * share;
    }
  }
  /// Derivative by probs[e] of the balance and entropy terms.
  MOE_KERNEL T dprob(int r, int e) const {
    const int experts = logits.cols, slots = offset[experts];
    const T load = T(double(offset[e + 1] - offset[e]) / double(slots));
    return balance * T(double(experts)) * load +
           entropy * (RouteForward<T>::log_or_zero(probs(r, e)) + T(1));
  }
};

/// total[c] = mean over rows of x[r][c], in row order.
template <class T>
struct ColumnMean {
  int count;
  Table<const T> x;
  Table<T> total;
  template <class V>
  MOE_KERNEL void operator()(Lane<V> i) const {
    V sum(T(0));
    for (int r = 0; r < count; ++r) sum = sum + x[r][i];
    total[0][i] = sum / T(double(count));
  }
};

/// dbias[e] += slots of expert e - mean slots: what the selection bias is moved against.
template <class T>
struct LoadExcess {
  int experts;
  const int* offset;
  Table<T> dbias;
  template <class V>
  MOE_KERNEL void operator()(Lane<V> i) const {
    dbias[0][i] += generate(i, [&](int e) {
      return T(double(offset[e + 1] - offset[e]) - double(offset[experts]) / double(experts));
    });
  }
};

}  // namespace moe::kernel
