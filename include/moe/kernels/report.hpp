#pragma once
#include <cstddef>
#include <moe/core/lane.hpp>
#include <moe/kernels/chunk.hpp>

// From the losses of all tokens and the reports of all routers to the few numbers that the host
// reads after a pass.

namespace moe::inline MOE_ISA::kernel {

/// partial(r) = the sums of loss and of correct over the tokens of chunk r, in order.
template <class W>
struct SumLosses {
  int tokens;
  const W *loss, *correct;
  Table<double> partial;  // (chunks, 2)
  static constexpr bool one_lane = true;
  MOE_KERNEL void operator()(const auto&, int r) const {
    const Chunk c(tokens, r);
    double all = 0, right = 0;
    for (std::ptrdiff_t i = c.first; i < c.first + c.length; ++i) {
      all += double(loss[i]);
      right += double(correct[i]);
    }
    partial(r, 0) = all;
    partial(r, 1) = right;
  }
};

/// Where the results of the first router are. Those of each next one are `step` bytes further.
template <class W>
struct RouterResults {
  int layers, experts;
  const int* offset;    // experts + 1
  const W* mean_probs;  // experts
  const W* means;       // logsumexp(logits)^2 and entropy
  std::ptrdiff_t step;

  template <class T>
  MOE_KERNEL const T* at(const T* first, int layer) const {
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(first) + layer * step);
  }
};

/// Writes the report of a pass: cross entropy, balance, z, entropy, total, accuracy (see Loss);
/// then for each router the share of each expert, and its entropy. Without targets, `tokens` is 0
/// and what depends on them NaN. balance = experts * sum over e of load_e * P_e, where P_e is the
/// mean probability. Launched for one row.
/// Source: Fedus et al. 2021, arXiv:2101.03961, eq. 4.
template <class W>
struct FinishReport {
  int tokens;
  const double* partial;  // (chunks of the tokens, 2)
  RouterResults<W> routers;
  double balance_weight, z_weight, entropy_weight;
  double* report;
  int* loss_not_finite;  // set to 1 if the total is not; null: a pass that trains nothing
  static constexpr bool one_lane = true;
  MOE_KERNEL void operator()(const auto&, int) const {
    double loss = 0, correct = 0, balance = 0, z = 0, entropy = 0;
    for (int c = 0; c < chunks(tokens); ++c) {
      loss += partial[2 * c];
      correct += partial[2 * c + 1];
    }
    // Without targets this is 0 / 0: not known.
    loss /= double(tokens);
    correct /= double(tokens);
    double* share = report + 6;
    for (int l = 0; l < routers.layers; ++l) {
      const int* const offset = routers.at(routers.offset, l);
      const W* const mean_probs = routers.at(routers.mean_probs, l);
      const W* const means = routers.at(routers.means, l);
      const int experts = routers.experts, slots = offset[experts] > 1 ? offset[experts] : 1;
      for (int e = 0; e < experts; ++e) {
        share[e] = double(offset[e + 1] - offset[e]) / double(slots);
        balance += double(experts) * share[e] * double(mean_probs[e]) / double(routers.layers);
      }
      share[experts] = double(means[1]);
      z += double(means[0]) / double(routers.layers);
      entropy += double(means[1]) / double(routers.layers);
      share += experts + 1;
    }
    const double total = loss + balance_weight * balance + z_weight * z - entropy_weight * entropy;
    report[0] = loss;
    report[1] = balance;
    report[2] = z;
    report[3] = entropy;
    report[4] = total;
    report[5] = correct;
    if (tokens > 0 && loss_not_finite && !(total - total == 0)) *loss_not_finite = 1;
  }
};

}  // namespace moe::kernel
