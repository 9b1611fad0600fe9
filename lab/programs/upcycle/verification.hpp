#pragma once
#include <cmath>
#include <moe/core/error.hpp>
#include <moe/upcycle/report.hpp>
#include <moe_lab/format.hpp>

// Checks whether growing kept what its recipe promises.

namespace growth {

/// How near the mixture must come to the dense model: to the last bit, up to the rounding of sums
/// in another order, or not at all.
enum class Promise { bits, rounding, none };

constexpr Promise promise_of(moe::Recipe recipe) {
  switch (recipe) {
    case moe::Recipe::copy:
    case moe::Recipe::shared:
      return Promise::bits;
    case moe::Recipe::permute:
    case moe::Recipe::virtual_groups:
      return Promise::rounding;
    default:
      return Promise::none;
  }
}

/// The largest difference that another order of summation may cause, in units in the last place of
/// the largest logit. Measured: 16 to 19 in float; 1.3 at most in bf16, where sums are float and
/// only what is stored between layers may be rounded to the other neighbor.
inline double most_ulp(const std::string& precision) {
  return precision == "bf16" ? 16 : 1000;
}

/// A difference that is not finite breaks every promise but `none`.
inline bool passed(Promise promise, const moe::UpcycleReport& r, const std::string& precision) {
  if (promise == Promise::none) return true;
  if (!std::isfinite(r.max_difference)) return false;
  return promise == Promise::bits ? r.max_difference == 0 : r.max_ulp <= most_ulp(precision);
}

/// The line of the verification: PASSED, FAILED, or that there is nothing to verify.
inline std::string verdict(Promise promise, const moe::UpcycleReport& r,
                           const std::string& precision) {
  if (promise == Promise::none)
    return "  verification: NONE, the recipe changes the experts on purpose\n";
  const std::string what =
      promise == Promise::bits ? "0" : lab::format("at most %g ulp", most_ulp(precision));
  return lab::format(
      "  verification: %s, the largest difference is %.3g (%.3g ulp) and must be %s\n",
      passed(promise, r, precision) ? "PASSED" : "FAILED", r.max_difference, r.max_ulp,
      what.c_str());
}

/// Errors: the promise was not kept.   Test: tests/lab/verification.cpp.
inline void require(Promise promise, const moe::UpcycleReport& r, const std::string& precision) {
  if (!passed(promise, r, precision))
    throw moe::Error(lab::format(
        "cannot go on with the grown mixture: on the frozen probe its logits differ by %.3g "
        "from those of the dense model, more than the recipe may change; this is an error of the "
        "program or a dense model that is not finite, look at its losses",
        r.max_difference));
}

}  // namespace growth
