#pragma once
#include <cstddef>
#include <moe/core/lane.hpp>

// From the losses of all tokens and the reports of all routers to the few numbers that the host
// reads after a pass.

namespace moe::inline MOE_ISA::kernel {

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
  const W *token_loss, *correct;
  RouterResults<W> routers;
  double balance_weight, z_weight, entropy_weight;
  double* report;
  int* loss_not_finite;  // set to 1 if the total is not; null: a pass that trains nothing
  MOE_KERNEL int width() const { return tokens; }
  MOE_KERNEL void operator()(const auto& group, int) const {
    const int layers = routers.layers, experts = routers.experts;
    // Without targets this is 0 / 0: not known.
    const auto mean = [&](const W* x) {
      return group.total(tokens, [&](int t) { return double(x[t]); }) / double(tokens);
    };
    const auto mean_of_layers = [&](int which) {
      return group.total(layers, [&](int l) {
        return double(routers.at(routers.means, l)[which]) / double(layers);
      });
    };
    const double loss = mean(token_loss), accuracy = mean(correct);
    const double z = mean_of_layers(0), entropy = mean_of_layers(1);
    const double balance = group.total(layers * experts, [&](int i) {
      const int l = i / experts, e = i % experts;
      return double(experts) * share(l, e) * double(routers.at(routers.mean_probs, l)[e]) /
             double(layers);
    });
    // A term without weight does not count, even if it is infinite.
    const auto weighted = [](double weight, double x) { return weight == 0 ? 0 : weight * x; };
    const double total = loss + weighted(balance_weight, balance) + weighted(z_weight, z) -
                         weighted(entropy_weight, entropy);
    group.for_each_index(layers * (experts + 1), [&](int i) {
      const int l = i / (experts + 1), e = i % (experts + 1);
      report[6 + i] = e < experts ? share(l, e) : double(routers.at(routers.means, l)[1]);
    });
    group.once([&] {
      report[0] = loss;
      report[1] = balance;
      report[2] = z;
      report[3] = entropy;
      report[4] = total;
      report[5] = accuracy;
      if (tokens > 0 && loss_not_finite && !(total - total == 0)) *loss_not_finite = 1;
    });
  }
  /// The share of the slots of layer l that expert e has.
  MOE_KERNEL double share(int l, int e) const {
    const int* const offset = routers.at(routers.offset, l);
    const int slots = offset[routers.experts];
    return double(offset[e + 1] - offset[e]) / double(slots > 1 ? slots : 1);
  }
};

}  // namespace moe::kernel
