#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <moe/core/bfloat16.hpp>
#include <moe/upcycle/recipe.hpp>
#include <string>
#include <type_traits>
#include <vector>

namespace moe::inline MOE_ISA {

/// The result of upcycling. Both models' logits are compared on the probe, in evaluation mode. If a
/// logit on either side is not finite, all numbers that depend on it are NaN (not known).
struct UpcycleReport {
  double max_difference = 0, mean_difference = 0;  // between the two models' logits
  double max_ulp = 0;  // the largest difference, in ulp of the largest logit of its row
  double max_logit = 0;
  std::vector<double> sequence_difference;  // the largest difference of each sequence of the probe
  std::vector<std::vector<double>> load;    // [MoE layer][expert], shares of the assignments
  Compensation compensation = {};           // the factors of the down-projections
  bool exact = false;                       // equal by construction, and equal on the probe
  bool symmetric = false;                   // zero router: equal experts stay equal
  std::string why;                          // the reason, as a sentence
};

namespace detail {

template <ModelConfig Moe, Recipe R>
void explain(const UpcycleOptions& options, UpcycleReport& report) {
  const bool sum_to_one = Moe.moe.renormalize;
  report.symmetric = options.router == RouterStart::zero;
  report.exact = R == Recipe::shared || (R == Recipe::copy && sum_to_one);
  if (R == Recipe::shared) {
    report.why = "exact: the shared expert is the feed-forward and routed experts add zero";
  } else if (R == Recipe::noise || R == Recipe::drop) {
    report.why = "not exact: experts were changed on purpose";
  } else if (!sum_to_one) {
    report.why = !options.compensate
                     ? "not exact: the gates do not sum to 1 and nothing makes up for it"
                 : options.router == RouterStart::zero
                     ? "exact up to rounding: the gates do not sum to 1, the down-projections "
                       "make up for the gates of a zero router"
                     : "not exact: the gates do not sum to 1, and the down-projections make "
                       "up only for those of a zero router";
  } else if (R == Recipe::copy) {
    report.why = "exact: equal experts, and gates that sum to 1";
  } else if (R == Recipe::permute) {
    report.why = "exact up to rounding: down-projections sum the same products in another order";
  } else {
    report.why = options.compensate
                     ? "exact up to rounding: down-projections sum the same products in slices"
                     : "not exact: each slice has only a share of its group's gate, and nothing "
                       "makes up for it";
  }
}

/// The significant binary digits of type T, including the leading one.
template <class T>
constexpr int digits() {
  return std::is_same_v<T, bfloat16> ? 8 : std::numeric_limits<T>::digits;
}

/// max = max(max, x), except that NaN persists; std::max would lose it.
inline void keep_largest(double& max, double x) {
  if (!(x <= max) && !std::isnan(max)) max = x;
}

/// If the recipe promises equality and the probe shows a difference, believes the probe.
inline void check_promise(UpcycleReport& report) {
  if (!report.exact || report.max_difference == 0) return;
  report.exact = false;
  report.why = std::isfinite(report.max_difference)
                   ? "not exact: the recipe promises equal logits, but they differ on the probe; "
                     "please report this as a fault of the library"
                   : "not exact: logits on the probe are not finite; the dense model has diverged, "
                     "use an earlier checkpoint";
}

/// Compares the logits of both models on one sequence.
template <class Dense, class Moe>
void compare(Dense& dense, Moe& moe, const std::int32_t* tokens, int length,
             UpcycleReport& report) {
  using T = typename Dense::T;
  constexpr std::size_t vocab = Dense::config.vocab;
  const moe::Batch batch{tokens, nullptr, 1, length};
  dense.forward(batch, false);
  const auto expected = dense.logits();
  moe.forward(batch, false);
  const auto found = moe.logits();
  double max_difference = 0, sum = 0;
  for (std::size_t row = 0; row < expected.size(); row += vocab) {
    double largest = 0, difference = 0;
    for (std::size_t i = row; i < row + vocab; ++i) {
      const double d = std::abs(double(expected[i]) - double(found[i]));
      keep_largest(difference, d);  // NaN for two equal infinities, too
      keep_largest(largest, std::abs(double(expected[i])));
      sum += d;
    }
    keep_largest(max_difference, difference);
    const int digit = std::isfinite(largest) ? std::ilogb(std::max(largest, 1e-30)) : 0;
    const double ulp = std::ldexp(1.0, digit + 1 - digits<T>());
    keep_largest(report.max_ulp, std::isfinite(largest) ? difference / ulp : NAN);
    keep_largest(report.max_logit, largest);
  }
  if (!std::isfinite(max_difference)) max_difference = sum = NAN;  // an infinity on one side, too
  report.sequence_difference.push_back(max_difference);
  keep_largest(report.max_difference, max_difference);
  report.mean_difference += sum / double(expected.size());
  for (std::size_t layer = 0; layer < report.load.size(); ++layer) {
    const auto load = moe.expert_load(int(layer));
    for (std::size_t e = 0; e < load.size(); ++e) report.load[layer][e] += load[e];
  }
}

}  // namespace detail
}  // namespace moe
