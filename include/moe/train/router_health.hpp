#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <moe/core/format.hpp>
#include <span>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

/// How evenly one MoE layer uses its experts, computed from their shares f of the assignments (sum
/// 1). If the shares are not known (before the first pass they sum to 0), the values are NaN, with
/// no dead experts.
struct RouterHealth {
  double effective_experts = 0;  // exp(-sum f ln f): `experts` if even, `top_k` if collapsed
  double max_violation = 0;      // experts * max f - 1: 0 if even
  int dead_experts = 0;          // experts below 1 % of the fair share
};

/// Never throws or allocates.  Test: tests/train/metrics.cpp.
inline RouterHealth router_health(std::span<const double> load) {
  RouterHealth health;
  double entropy = 0, max_load = 0, sum = 0;
  const double experts = double(load.size());
  for (const double f : load) sum += f;
  if (!(sum > 0)) {
    health.effective_experts = health.max_violation = std::numeric_limits<double>::quiet_NaN();
    return health;
  }
  for (const double f : load) {
    if (f > 0) entropy -= f * std::log(f);
    max_load = std::max(max_load, f);
    health.dead_experts += f * experts < 0.01;
  }
  health.effective_experts = std::exp(entropy);
  health.max_violation = experts * max_load - 1;
  return health;
}

/// A verdict in one line: "healthy" if no expert is dead and every layer uses three quarters of its
/// experts, else the worst problem. `collapsed`: the number of layers that RouterSentinel reports.
/// "" for a dense model.  Test: tests/train/metrics.cpp.
///
///     health_verdict(row.health, 8, row.collapsed)  ->  "healthy (7.6 of 8 experts)"
inline std::string health_verdict(std::span<const RouterHealth> layers, int experts,
                                  int collapsed = 0) {
  if (layers.empty()) return "";
  std::size_t worst = 0;
  int dead = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const double used = layers[i].effective_experts;
    if (std::isnan(used)) return "expert load not known";
    if (used < layers[worst].effective_experts) worst = i;
    dead += layers[i].dead_experts;
  }
  const double used = layers[worst].effective_experts;
  std::string verdict =
      collapsed > 0 ? detail::format("COLLAPSED in %d of %zu layers", collapsed, layers.size())
      : dead > 0    ? detail::format("%d dead", dead)
      : used < 0.75 * experts ? "uneven"
                              : "healthy";
  verdict += detail::format(" (%.1f of %d experts", used, experts);
  if (used < 0.75 * experts) verdict += " in layer " + std::to_string(worst);
  return verdict + ")";
}

/// Watches the MoE layers of a run and warns once for each layer that collapses. A layer has
/// collapsed if for `rows` steps in a row it has fewer than top_k + 1 effective experts, or a
/// violation above 1.5, which is a largest share above 2.5 times the fair one.   Test:
/// tests/train/metrics.cpp.
///
///     moe::RouterSentinel sentinel(8, 2);
///     if (auto warning = sentinel.observe(layer, health); !warning.empty()) ...
class RouterSentinel {
 public:
  RouterSentinel(int experts, int top_k, int rows = 100)
      : experts_(experts), top_k_(top_k), rows_(rows) {}

  /// The limit of effective experts. If there are few experts, the limit lies halfway between
  /// collapsed and even.
  double least_effective() const { return std::min(top_k_ + 1.0, (top_k_ + experts_) / 2.0); }
  bool is_collapsed(const RouterHealth& health) const {
    if (experts_ <= top_k_) return false;
    return health.effective_experts < least_effective() || health.max_violation > 1.5;
  }

  /// Adds one step of a layer. Returns a warning, or "".
  std::string observe(int layer, const RouterHealth& health) {
    if (std::size_t(layer) >= bad_.size()) bad_.resize(std::size_t(layer) + 1);
    int& bad = bad_[std::size_t(layer)];
    bad = is_collapsed(health) ? bad + 1 : 0;
    if (bad != rows_) return "";
    return "the router of MoE layer " + std::to_string(layer) + " has collapsed: for " +
           std::to_string(rows_) +
           detail::format(
               " steps it used %.1f of %d experts (largest share %.1f times the fair one);",
               health.effective_experts, experts_, health.max_violation + 1) +
           " raise balance_weight";
  }

  /// The number of layers that have been collapsed for `rows` steps.
  int collapsed() const {
    return int(std::count_if(bad_.begin(), bad_.end(), [&](int bad) { return bad >= rows_; }));
  }

 private:
  int experts_, top_k_, rows_;
  std::vector<int> bad_;
};

}  // namespace moe
