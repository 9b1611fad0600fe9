#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <moe_lab/format.hpp>
#include <string>
#include <vector>

// Statistics over the seeds of an experiment.

namespace lab {

/// Mean and standard deviation of a sample (with n - 1). NaN if undefined: the mean of no value,
/// the deviation of one.
struct Spread {
  double mean = std::numeric_limits<double>::quiet_NaN(), deviation = mean;
  std::size_t count = 0;
};

inline Spread spread(const std::vector<double>& values) {
  Spread s{.count = values.size()};
  const double n = double(values.size());
  if (values.empty()) return s;
  s.mean = 0;
  for (const double x : values) s.mean += x / n;
  if (n < 2) return s;
  double squares = 0;
  for (const double x : values) squares += (x - s.mean) * (x - s.mean);
  s.deviation = std::sqrt(squares / (n - 1));
  return s;
}

/// "1.7391 +-0.0144" in the columns of a table; "(one run)" in place of the deviation of one value.
inline std::string describe(const Spread& s) {
  if (std::isnan(s.mean)) return "    unknown        ";
  return format("%8.4f", s.mean) + (s.count > 1 ? format(" +-%6.4f", s.deviation) : " (one run)");
}

/// Two-sided 5 % point of Student's t for `freedom` degrees of freedom (from tables; 1.96 above
/// 30).
/// Test: tests/lab/statistics.cpp.
inline double student_t(std::size_t freedom) {
  constexpr std::array<double, 30> t = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                        2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                        2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                        2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
  return freedom < 1 ? INFINITY : freedom <= t.size() ? t[freedom - 1] : 1.96;
}

/// Student's paired t-test on the differences of runs that share seed and data order.
struct Comparison {
  Spread difference;
  bool significant = false;  // at the 5 % level
  /// "+0.0689 +- 0.0115"; for one seed without the deviation; or "unknown".
  std::string amount() const {
    if (!std::isfinite(difference.mean)) return "unknown";
    return format("%+.4f", difference.mean) +
           (difference.count > 1 ? format(" +- %.4f", difference.deviation) : "");
  }
  std::string verdict() const {
    if (difference.count > 0 && !std::isfinite(difference.mean))
      return "a run diverged: nothing follows";
    if (difference.count < 2) return "one seed says nothing about significance";
    return significant ? "significant (paired t-test, 5 %)"
                       : "not significant (paired t-test, 5 %)";
  }
};

/// Whether loss `a` is lower than loss `b`. An unknown loss, NaN, is above all others.
inline bool is_lower(double a, double b) {
  return a < b || (std::isnan(b) && !std::isnan(a));
}

/// Compares first[i] - second[i], where both have the same seed i.
inline Comparison compare(const std::vector<double>& first, const std::vector<double>& second) {
  std::vector<double> differences;
  for (std::size_t i = 0; i < first.size() && i < second.size(); ++i)
    differences.push_back(first[i] - second[i]);
  Comparison c{.difference = spread(differences)};
  const std::size_t n = differences.size();
  if (n < 2) return c;
  const double error = c.difference.deviation / std::sqrt(double(n));
  c.significant = std::abs(c.difference.mean) > student_t(n - 1) * error;
  return c;
}

}  // namespace lab
