#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <vector>

#include "catch.hpp"

// Shared by the tests of the CPU backend: random numbers, and the comparison with the oracle.

namespace moe::test {

/// Normally distributed numbers, different for each operand `which`.
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

/// Runs a check for float and for double.
template <class F>
void for_float_and_double(const F& check) {
  check(float());
  check(double());
}

inline std::vector<double> magnitudes(std::vector<double> v) {
  for (double& x : v) x = std::abs(x);
  return v;
}

/// The options of five kinds of products; kind 4 is exact. With `sign` -1 alpha and beta are
/// positive, for the sum of magnitudes.
template <class V>
GemmOptions<V> options(int kind, V sign, const V* bias) {
  const V minus = sign > V(0) ? V(-1) : V(1);
  switch (kind % 5) {
    case 0:
      return {};
    case 1:
      return {V(1), V(1), nullptr};
    case 2:
      return {minus * V(0.5), V(0), bias};
    case 3:
      return {V(0.75), minus * V(1.25), bias};
    default:
      return {V(1), V(0), nullptr, Precision::exact};
  }
}

/// |x| / 256 is the most that rounding x to bfloat16 changes.
inline constexpr double half_unit = 1.0 / 256;

/// Largest |got - expected|, less `units` half units in the last place if `got` is bfloat16,
/// relative to `size`.
template <class T>
double excess(const std::vector<T>& got, const std::vector<double>& expected,
              const std::vector<double>& size, double units = 1) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double allowed = sizeof(T) == 2 ? units * half_unit * std::abs(expected[i]) : 0;
    const double difference = std::abs(double(got[i]) - expected[i]);
    worst =
        std::isnan(difference) ? 1e30 : std::max(worst, (difference - allowed) / (size[i] + 1e-30));
  }
  return worst;
}

/// Checks results of attention in which both sides round probabilities to bfloat16. Where
/// exponentials differ in their last bit, a few of these are rounded to the neighbour, which moves
/// a result by 2^-8 of one term. If all were rounded otherwise, the results would differ by some
/// 2^-10 of their size.
inline void check_alike(const std::vector<bfloat16>& got, const std::vector<bfloat16>& expected) {
  double difference = 0, size = 0, largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(double(got[i]) - double(expected[i]), 2);
    size += std::pow(double(expected[i]), 2);
    largest = std::max(largest, std::abs(double(expected[i])));
  }
  CHECK(difference <= 0x1p-24 * size);  // 2^-12 of the root mean square
  const auto wide = widened(expected);
  CHECK(excess(got, wide, std::vector<double>(wide.size(), largest), 2) < half_unit);
}

/// Random operands of attention, stored as S. The memory for the results holds old numbers.
template <class S, class W = S>
struct Tensors {
  std::vector<S> q, k, v, dout, out, dq, dk, dv;
  std::vector<W> lse;

  explicit Tensors(const AttentionShape& s) {
    const auto numbers = [](int a, int b, int c) {
      return std::size_t(a) * std::size_t(b) * std::size_t(c);
    };
    const std::size_t queries = numbers(s.sequences * s.queries, s.heads, s.head_dim),
                      keys = numbers(s.sequences * s.key_rows, s.kv_heads, s.head_dim);
    q = random_numbers<S>(queries, 1);
    k = random_numbers<S>(keys, 2);
    v = random_numbers<S>(keys, 3);
    dout = random_numbers<S>(queries, 4);
    out.assign(queries, S(7.0f));
    lse.assign(numbers(s.sequences, s.queries, s.heads), W(7));
    dq = random_numbers<S>(queries, 5);
    dk = random_numbers<S>(keys, 6);
    dv = random_numbers<S>(keys, 7);
  }
  template <class B>
  void forward(B& be, const AttentionShape& s) {
    be.attention_forward(s, q.data(), k.data(), v.data(), out.data(), lse.data());
  }
  template <class B>
  void backward(B& be, const AttentionShape& s) {
    be.attention_backward(s, q.data(), k.data(), v.data(), out.data(), dout.data(), lse.data(),
                          dq.data(), dk.data(), dv.data());
  }
  template <class B>
  void run(B& be, const AttentionShape& s) {
    forward(be, s);
    backward(be, s);
  }
  friend void check_same_bits(const Tensors& a, const Tensors& b) {
    CHECK(same_bits(a.out, b.out));
    CHECK(same_bits(a.lse, b.lse));
    CHECK(same_bits(a.dq, b.dq));
    CHECK(same_bits(a.dk, b.dk));
    CHECK(same_bits(a.dv, b.dv));
  }
  template <class U>
  void take(const Tensors<U>& t) {
    q = widened(t.q), k = widened(t.k), v = widened(t.v), dout = widened(t.dout);
    dq = widened(t.dq), dk = widened(t.dk), dv = widened(t.dv);
  }
};

/// Forward and backward in bfloat16, by forward(tensors) and backward(tensors), agree with the
/// oracle, which has the same out and lse in backward.
template <class Forward, class Backward>
void check_attention(const AttentionShape& s, const Forward& forward, const Backward& backward) {
  INFO("queries " << s.queries << " keys " << s.keys << " head_dim " << s.head_dim);
  Reference<float, bfloat16> oracle;
  Tensors<bfloat16, float> got(s), expected(s);
  forward(got);
  expected.forward(oracle, s);
  check_alike(got.out, expected.out);
  CHECK(error(got.lse, widened(expected.lse)) < 2 * tolerance<float>);
  expected.out = got.out;
  expected.lse = got.lse;
  backward(got);
  expected.backward(oracle, s);
  check_alike(got.dq, expected.dq);
  check_alike(got.dk, expected.dk);
  check_alike(got.dv, expected.dv);
}

}  // namespace moe::test
