#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <moe/backend/cpu/simd/activation.hpp>
#include <moe/backend/cpu/simd/lanes.hpp>

#include "../catch.hpp"

using namespace moe;

namespace {

using Pack = detail::Register<float>;
constexpr int width = detail::batch_width<float>;
constexpr double infinity = std::numeric_limits<double>::infinity();

/// |got - expected| in units of the last place that a float of size max(|expected|, `least`) has.
double last_places(float got, double expected, double least) {
  if (std::isnan(expected)) return std::isnan(got) ? 0 : infinity;
  // What rounds to infinity is infinity; a float next to it may have been rounded up.
  if (std::abs(expected) >= 3.4028235677973366e38 && std::isinf(got))
    return std::signbit(got) == std::signbit(expected) ? 0 : infinity;
  const double size = std::max(std::abs(expected), std::max(least, 0x1p-126));
  const double place = std::bit_cast<double>(
      (std::bit_cast<std::uint64_t>(size) & 0x7FF0000000000000) - (std::uint64_t(23) << 52));
  const double error = std::abs(double(got) - expected) / place;
  return std::isnan(error) ? infinity : error;
}

struct Worst {
  double error = 0;
  float at = 0;
};

/// The largest error of `f` against `exact` over every `stride`-th of the 2^32 floats.
template <class F, class Exact>
Worst worst_of(std::uint64_t stride, double least, const F& f, const Exact& exact) {
  Worst worst;
  float x[width], y[width];
  for (std::uint64_t first = 0; first < std::uint64_t(1) << 32; first += stride * width) {
    for (int l = 0; l < width; ++l)
      x[l] = std::bit_cast<float>(std::uint32_t(first + std::uint64_t(l) * stride));
    Pack(f(Pack::load_unaligned(x))).store_unaligned(y);
    for (int l = 0; l < width; ++l) {
      const double error = last_places(y[l], exact(double(x[l])), least);
      if (error > worst.error) worst = {error, x[l]};
    }
  }
  return worst;
}

double phi(double x) {
  return 0.39894228040143267794 * std::exp(-0.5 * x * x);
}
double normal_cdf(double x) {
  return 0.5 * std::erfc(-0.70710678118654752440 * x);
}
double sigmoid(double z) {
  return 1 / (1 + std::exp(-z));
}
/// x * rest, for a `rest` that is 1 for large x and vanishes faster than 1 / |x| for large -x.
/// Avoids infinity * 0.
double times(double x, double rest) {
  return x < -1000 ? 0 : x > 1000 ? x : x * rest;
}
double gelu(double x) {
  return times(x, normal_cdf(x));
}
double gelu_slope(double x) {
  return std::abs(x) > 100 ? double(x > 0) : normal_cdf(x) + x * phi(x);
}
double twice_inner(double x) {
  return 1.59576912160573071176 * x * (1 + 0.044715 * x * x);
}
double gelu_tanh(double x) {
  return times(x, sigmoid(twice_inner(x)));
}
double gelu_tanh_slope(double x) {
  if (std::abs(x) > 100) return double(x > 0);
  const double s = sigmoid(twice_inner(x)), other = sigmoid(-twice_inner(x));
  return s * (1 + 1.59576912160573071176 * x * (1 + 3 * 0.044715 * x * x) * other);
}
double silu(double x) {
  return times(x, sigmoid(x));
}
double silu_slope(double x) {
  return std::abs(x) > 1000 ? double(x > 0) : sigmoid(x) * (1 + x * sigmoid(-x));
}

/// Calls check(name, bound, least, f, exact) for every function. Errors are measured in units in
/// the last place of the value, or of `least` if that is larger: it is above 0 only for slopes,
/// which cross zero.
void for_every_function(const auto& check) {
  using kernel::Gelu, kernel::GeluTanh, kernel::Silu;
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  const double one = 1, two = 2, far = 2;
#else
  const double one = 1.5, two = 4, far = 200;  // without FMA products lose their last bits
#endif
  check(
      "exp", one, 0, [](auto x) { return kernel::exp(x); }, [](double x) { return std::exp(x); });
  check(
      "log", two, 0, [](auto x) { return kernel::log(x); }, [](double x) { return std::log(x); });
  check(
      "tanh", two, 0, [](auto x) { return kernel::tanh(x); },
      [](double x) { return std::tanh(x); });
  check(
      "erf", two, 0, [](auto x) { return kernel::erf(x); }, [](double x) { return std::erf(x); });
  check(
      "gelu", far, 0, [](auto x) { return Gelu<float>::at(x).value; }, gelu);
  check(
      "gelu slope", two, 0.25, [](auto x) { return Gelu<float>::at(x).derivative; }, gelu_slope);
  check(
      "gelu_tanh", far, 0, [](auto x) { return GeluTanh<float>::at(x).value; }, gelu_tanh);
  check(
      "gelu_tanh slope", two, 0.25, [](auto x) { return GeluTanh<float>::at(x).derivative; },
      gelu_tanh_slope);
  check(
      "silu", two, 0, [](auto x) { return Silu<float>::at(x).value; }, silu);
  check(
      "silu slope", two, 0.25, [](auto x) { return Silu<float>::at(x).derivative; }, silu_slope);
}

void check_every(std::uint64_t stride) {
  for_every_function(
      [&](const char* name, double bound, double least, const auto& f, const auto& exact) {
        const Worst worst = worst_of(stride, least, f, exact);
        char text[128];
        std::snprintf(text, sizeof text, "%s: %.3f at %.9g", name, worst.error, double(worst.at));
        INFO(text);
        CHECK(worst.error <= bound);
        if (stride == 1) std::printf("%s\n", text);
      });
}

template <class F>
float one(const F& f, float x) {
  float y[width];
  Pack(f(Pack(x))).store_unaligned(y);
  return y[0];
}

}  // namespace

TEST_CASE("Cpu: functions of a register of floats keep their bounds on a sample of all floats",
          "[accuracy]") {
  check_every(4099);
}

TEST_CASE("Cpu: functions of a register of floats keep their bounds on all floats",
          "[.nightly][accuracy]") {
  check_every(1);
}

TEST_CASE("Cpu: an activation of a row's tail is as accurate as that of a register", "[accuracy]") {
  for_every_function(
      [](const char* name, double bound, double least, const auto& f, const auto& exact) {
        INFO(name);
        double worst = 0;
        for (std::uint64_t bits = 0; bits < std::uint64_t(1) << 32; bits += 65537) {
          const float x = std::bit_cast<float>(std::uint32_t(bits));
          if (std::isinf(x)) continue;
          worst = std::max(worst, last_places(f(x), exact(double(x)), least));
        }
        CHECK(worst <= bound);
      });
}

TEST_CASE("Cpu: special values of the functions of a register of floats", "[edge]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), far = float(infinity);
  const auto same = [](float a, float b) { return a == b && std::signbit(a) == std::signbit(b); };
  for_every_function([&](const char* name, double, double, const auto& f, const auto&) {
    INFO(name);
    CHECK(std::isnan(one(f, nan)));
    CHECK(std::isnan(one(f, -nan)));
  });
  const auto exp = [](auto x) { return kernel::exp(x); };
  const auto log = [](auto x) { return kernel::log(x); };
  const auto tanh = [](auto x) { return kernel::tanh(x); };
  const auto erf = [](auto x) { return kernel::erf(x); };
  CHECK(same(one(exp, -far), 0.0f));
  CHECK(same(one(exp, -1e30f), 0.0f));
  CHECK(one(exp, far) == far);
  CHECK(one(exp, 89.0f) == far);
  CHECK(one(exp, 0.0f) == 1.0f);
  CHECK(one(log, 0.0f) == -far);
  CHECK(one(log, -0.0f) == -far);
  CHECK(one(log, far) == far);
  CHECK(same(one(log, 1.0f), 0.0f));
  CHECK(std::isnan(one(log, -1.0f)));
  CHECK(std::isnan(one(log, -far)));
  for (const float sign : {1.0f, -1.0f}) {
    for (const float x : {0.0f, far, 30.0f}) {
      CHECK(same(one(tanh, sign * x), sign * std::tanh(x)));
      CHECK(same(one(erf, sign * x), sign * std::erf(x)));
    }
  }
  using kernel::Gelu, kernel::GeluTanh, kernel::Silu;
  const auto ends = [&](auto act) {
    CHECK(one([](auto x) { return decltype(act)::at(x).value; }, -far) == 0.0f);
    CHECK(one([](auto x) { return decltype(act)::at(x).value; }, far) == far);
    CHECK(one([](auto x) { return decltype(act)::at(x).derivative; }, -far) == 0.0f);
    CHECK(one([](auto x) { return decltype(act)::at(x).derivative; }, far) == 1.0f);
    CHECK(one([](auto x) { return decltype(act)::at(x).value; }, 0.0f) == 0.0f);
    CHECK(one([](auto x) { return decltype(act)::at(x).derivative; }, 0.0f) == 0.5f);
  };
  ends(Gelu<float>());
  ends(GeluTanh<float>());
  ends(Silu<float>());
}
