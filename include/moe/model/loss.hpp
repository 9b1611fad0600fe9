#pragma once
#include <moe/tree/fields.hpp>
#include <type_traits>

namespace moe {

/// What a forward pass found. Units: nats per token; the auxiliary terms are means over the MoE
/// layers. total = cross_entropy + balance_weight * balance + z_weight * z - entropy_weight *
/// entropy. Of a batch without targets cross_entropy, total and accuracy are not known: NaN.
struct Loss {
  double cross_entropy = 0, balance = 0, z = 0, entropy = 0, total = 0;
  double accuracy = 0;  // share of the targets that got the highest logit
  int tokens = 0;       // that had a target

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

}  // namespace moe
