#pragma once
#include <cstdint>
#include <moe/kernel.hpp>
#include <moe/random.hpp>

namespace moe::kernel {

/// How a router turns logits into a choice; run-time values of one pass.
struct Routing {
  int top_k;
  bool sigmoid, renormalise, uniform;
  double noise;  // standard deviation; 0 outside training
  std::uint64_t seed, stream;
};

/// Scores of the experts: softmax(logits), or sigmoid(logits) each on its own.
/// probs: the scores over their sum. The k best of score + selection bias are chosen, the lowest
/// index first among equals; gates: their scores, over their sum when renormalised.
/// stats: (logsumexp(logits))^2 and the entropy of probs.
template <class T>
struct RouteForward {
  Table<T> logits;           // (n, experts); the noise is added in place
  Table<const T> selection;  // (1, experts) or null
  Table<T> probs;            // (n, experts)
  Table<int> expert;         // (n, top_k)
  Table<T> gates;            // (n, top_k)
  Table<T> scale;            // (n, 2): sum of all scores, sum of the chosen ones
  Table<T> stats;            // (n, 2)
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
    T most = logits(r, 0);
    for (int e = 1; e < experts; ++e)
      if (most < logits(r, e)) most = logits(r, e);
    T exps(0), scores(0);
    for (int e = 0; e < experts; ++e) {
      const T shifted = kernel::exp(logits(r, e) - most);
      exps = exps + shifted;
      probs(r, e) = routing.sigmoid ? T(1) / (T(1) + kernel::exp(-logits(r, e))) : shifted;
      scores = scores + probs(r, e);
    }
    const T lse = most + kernel::log(exps);
    for (int e = 0; e < experts; ++e)
      if (!routing.sigmoid) probs(r, e) = probs(r, e) / exps;
    if (!routing.sigmoid) scores = T(1);
    choose(r);
    T chosen(0);
    for (int j = 0; j < routing.top_k; ++j) {
      gates(r, j) = probs(r, expert(r, j));
      chosen = chosen + gates(r, j);
    }
    if (routing.renormalise)
      for (int j = 0; j < routing.top_k; ++j) gates(r, j) = gates(r, j) / chosen;
    T entropy(0);
    for (int e = 0; e < experts; ++e) {
      if (routing.sigmoid) probs(r, e) = probs(r, e) / scores;
      entropy = entropy - probs(r, e) * log_or_zero(probs(r, e));
    }
    scale(r, 0) = scores;
    scale(r, 1) = chosen;
    stats(r, 0) = lse * lse;
    stats(r, 1) = entropy;
  }
  MOE_KERNEL void choose(int r) const {
    const int experts = logits.cols;
    for (int j = 0; j < routing.top_k; ++j) {
      int best = -1;
      T most(0);
      for (int e = 0; e < experts; ++e) {
        bool taken = false;
        for (int i = 0; i < j; ++i) taken = taken || expert(r, i) == e;
        if (taken) continue;
        const T score = selection.data ? T(probs(r, e) + selection(0, e)) : T(probs(r, e));
        if (best < 0 || most < score) {
          best = e;
          most = score;
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
  Table<const T> gates, scale, dgates;
  const int* offset;  // (experts + 1): slots of each expert
  Table<T> dlogits;   // written
  Routing routing;
  T balance, z, entropy;

  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each_index(1, [&](int) { backward(r); });
  }
  MOE_KERNEL void backward(int r) const {
    const int experts = logits.cols;
    // What renormalising takes away. Counted from the first, so that experts which answer alike
    // give exactly no gradient.
    T along_gates(0);
    if (routing.renormalise)
      for (int j = 1; j < routing.top_k; ++j)
        along_gates = along_gates + (dgates(r, j) - dgates(r, 0)) * gates(r, j);
    T most = logits(r, 0), along_probs(0), dot(0);
    for (int e = 0; e < experts; ++e) {
      if (most < logits(r, e)) most = logits(r, e);
      along_probs = along_probs + dprob(r, e) * probs(r, e);
    }
    T exps(0);
    for (int e = 0; e < experts; ++e) {
      T dscore = routing.sigmoid ? T((dprob(r, e) - along_probs) / scale(r, 0)) : dprob(r, e);
      for (int j = 0; j < routing.top_k; ++j)
        if (expert(r, j) == e)
          dscore = dscore + (routing.renormalise
                                 ? T((dgates(r, j) - dgates(r, 0) - along_gates) / scale(r, 1))
                                 : T(dgates(r, j)));
      dlogits(r, e) = dscore;
      dot = dot + dscore * probs(r, e);
      exps = exps + kernel::exp(logits(r, e) - most);
    }
    const T lse = most + kernel::log(exps);
    for (int e = 0; e < experts; ++e) {
      const T score = routing.sigmoid ? T(probs(r, e) * scale(r, 0)) : T(probs(r, e));
      const T slope = routing.sigmoid ? T(dlogits(r, e) * score * (T(1) - score))
                                      : T((dlogits(r, e) - dot) * score);
      dlogits(r, e) = slope + T(2) * z * lse * kernel::exp(logits(r, e) - lse);
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
