#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <vector>

// What the tests of the CPU backend share: numbers, and comparison with the oracle.

namespace moe::test {

/// Normal numbers; `which` names the operand.
template <class T>
std::vector<T> random_numbers(std::size_t n, std::uint64_t which) {
  std::vector<T> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = T(normal(17, which, i));
  return v;
}

template <class T>
std::vector<double> widened(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Largest |got - expected| relative to `size`, the sum of the magnitudes that were added.
template <class T>
double error(const std::vector<T>& got, const std::vector<double>& expected,
             const std::vector<double>& size) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(double(got[i]) - expected[i]);
    worst = std::isnan(difference) ? 1e30 : std::max(worst, difference / (size[i] + 1e-30));
  }
  return worst;
}
/// Largest |got - expected| over the largest |expected|.
template <class T>
double error(const std::vector<T>& got, const std::vector<double>& expected) {
  double largest = 0;
  for (const double x : expected) largest = std::max(largest, std::abs(x));
  return error(got, expected, std::vector<double>(expected.size(), largest));
}

template <class T>
inline constexpr double tolerance = sizeof(T) == 4 ? 2e-6 : 4e-15;

/// The float and the double backend keep the same promises.
template <class F>
void for_float_and_double(const F& check) {
  check(float());
  check(double());
}

inline std::vector<double> magnitudes(std::vector<double> v) {
  for (double& x : v) x = std::abs(x);
  return v;
}

}  // namespace moe::test
