#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

// What several seeds say together.

namespace lab {

/// Mean and standard deviation of a sample (n - 1); deviation 0 for one value.
struct Spread {
  double mean = 0, deviation = 0;
  std::size_t count = 0;
};

inline Spread spread(const std::vector<double>& values) {
  Spread s{.count = values.size()};
  const double n = double(values.size());
  for (const double x : values) s.mean += x / n;
  for (const double x : values) s.deviation += (x - s.mean) * (x - s.mean);
  s.deviation = n > 1 ? std::sqrt(s.deviation / (n - 1)) : 0;
  return s;
}

/// Two-sided 5 % point of Student's t for so many degrees of freedom (from tables; 1.96 above 30).
/// Test: tests/lab/statistics.cpp.
inline double student_t(std::size_t freedom) {
  constexpr std::array<double, 30> t = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                        2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                        2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                        2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
  return freedom < 1 ? INFINITY : freedom <= t.size() ? t[freedom - 1] : 1.96;
}

/// Differences of runs that share seed and data order, as one finding: Student's paired t-test.
struct Comparison {
  Spread difference;
  bool significant = false;  // at the 5 % level
  std::string verdict() const {
    if (difference.count < 2) return "one seed says nothing about significance";
    if (!std::isfinite(difference.mean)) return "not known: a loss is not finite";
    return significant ? "significant (paired t-test, 5 %)"
                       : "not significant (paired t-test, 5 %)";
  }
};

/// Whether a loss is lower than another; NaN, a loss that is not known, is above all others.
inline bool is_lower(double a, double b) {
  return a < b || (std::isnan(b) && !std::isnan(a));
}

/// first[i] - second[i] for the same seed i.
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
