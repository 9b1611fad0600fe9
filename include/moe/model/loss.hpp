#pragma once
#include <array>
#include <cstddef>
#include <moe/core/config.hpp>
#include <moe/core/options.hpp>
#include <moe/tree/fields.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA {

/// The losses of a forward pass, in nats per token. The auxiliary terms are means over the MoE
/// layers. total = cross_entropy + balance_weight * balance + z_weight * z - entropy_weight *
/// entropy. For a batch without targets, cross_entropy, total and accuracy are not known (NaN).
struct Loss {
  double cross_entropy = 0, balance = 0, z = 0, entropy = 0, total = 0;
  double accuracy = 0;  // share of targets with the highest logit
  int tokens = 0;       // number of tokens with a target

  /// Adds `weight` times the means of a batch, and its tokens.
  void add(const Loss& batch, double weight);
  /// Divides every mean by `n`: what add() gathered with the numbers of tokens as weights becomes
  /// the mean over all of them. The number of tokens stays.   Test: tests/model/loss.cpp.
  ///
  ///     for (const moe::Loss& batch : batches) sum.add(batch, batch.tokens);
  ///     sum.divide(sum.tokens);
  void divide(double n);
};

inline void Loss::add(const Loss& batch, double weight) {
  const auto add_field = [&](auto& sum, const auto& part) {
    if constexpr (std::is_same_v<decltype(part), const int&>) {
      sum += part;
    } else {
      sum += weight * part;
    }
  };
  for_each_field(add_field, *this, batch);
}

inline void Loss::divide(double n) {
  const auto divide_field = [&](auto& sum) {
    if constexpr (!std::is_same_v<decltype(sum), int&>) sum /= n;
  };
  for_each_field(divide_field, *this);
}

/// Each expert's share of the assignments, from a router's offsets. The shares sum to 1.
template <int Experts>
std::array<double, std::size_t(Experts)> expert_shares(const int* offset) {
  std::array<double, std::size_t(Experts)> load{};
  const int all = offset[Experts] > 1 ? offset[Experts] : 1;
  for (int e = 0; e < Experts; ++e)
    load[std::size_t(e)] = double(offset[e + 1] - offset[e]) / double(all);
  return load;
}

/// The losses of a pass over `tokens` targets (0 if it had none), from the Decoder's results in
/// host memory. balance = experts * sum over e of load_e * P_e, where P_e is the mean probability.
/// Source: Fedus et al. 2021, arXiv:2101.03961, eq. 4.
template <ModelConfig C, class Results>
Loss collect_loss(const Results& r, int tokens, const Options& o) {
  Loss loss{.tokens = tokens};
  for (int i = 0; i < tokens; ++i) {
    loss.cross_entropy += double(r.head.loss.data[i]);
    loss.accuracy += double(r.head.correct.data[i]);
  }
  // Without targets this is 0 / 0: not known.
  loss.cross_entropy /= double(tokens);
  loss.accuracy /= double(tokens);
  constexpr int experts = C.moe.experts;  // clang 14 crashes on C.moe.experts in the loop
  for (const auto& router : r.routers) {
    const auto load = expert_shares<experts>(router.offset.data);
    for (int e = 0; e < experts; ++e)
      loss.balance += double(load.size()) * load[std::size_t(e)] * double(router.mean_probs[e]) /
                      C.moe_layers();
    loss.z += double(router.means[0]) / C.moe_layers();
    loss.entropy += double(router.means[1]) / C.moe_layers();
  }
  loss.total = loss.cross_entropy + o.balance_weight * loss.balance + o.z_weight * loss.z -
               o.entropy_weight * loss.entropy;
  return loss;
}

}  // namespace moe
