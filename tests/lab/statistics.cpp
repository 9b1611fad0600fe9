#include <algorithm>
#include <moe_lab/statistics.hpp>

#include "catch.hpp"
#include "messages.hpp"

using moe::test::has;

namespace {
bool near(double a, double b) {
  return std::abs(a - b) < 1e-12;
}
}  // namespace

TEST_CASE("spread: mean and deviation of a sample, as by hand", "[statistics]") {
  const lab::Spread s = lab::spread({2, 4, 4, 4, 5, 5, 7, 9});  // squares of differences: 32
  CHECK(s.count == 8);
  CHECK(near(s.mean, 5));
  CHECK(near(s.deviation, std::sqrt(32.0 / 7)));
  const lab::Spread pair = lab::spread({1.5, -0.5});
  CHECK(near(pair.mean, 0.5));
  CHECK(near(pair.deviation, std::sqrt(2.0)));
  // Small differences of large values are not lost.
  CHECK(std::abs(lab::spread({1e6 + 0.1, 1e6 - 0.1}).deviation - std::sqrt(0.02)) < 1e-6);
}

TEST_CASE("spread: one value has no deviation, none has no mean: not 0", "[statistics]") {
  const lab::Spread one = lab::spread({3.25});
  CHECK((one.count == 1 && one.mean == 3.25));
  CHECK(std::isnan(one.deviation));
  const lab::Spread none = lab::spread({});
  CHECK(none.count == 0);
  CHECK((std::isnan(none.mean) && std::isnan(none.deviation)));
  CHECK(has(lab::describe(none), "unknown"));
  CHECK(has(lab::describe(one), "3.2500 (one run)"));
  CHECK(has(lab::describe(lab::spread({1, 3})), "2.0000 +-1.4142"));
}

TEST_CASE("compare: nothing follows from a run that diverged", "[statistics]") {
  const double lost = std::numeric_limits<double>::infinity();
  for (const lab::Comparison& c :
       {lab::compare({lost, 1}, {1, 1}), lab::compare({lost, lost}, {lost, 1})}) {
    CHECK(!c.significant);
    CHECK(has(c.verdict(), "diverged"));
    CHECK(c.amount() == "unknown");
  }
  CHECK(lab::compare({}, {}).amount() == "unknown");
  CHECK(lab::compare({2}, {1}).amount() == "+1.0000");
}

TEST_CASE("student_t: two-sided 5 % points", "[statistics]") {
  // P(|t| < x) has a closed form for 1 and 2 degrees of freedom: it must be 0.95.
  const double pi = std::acos(-1.0);
  CHECK(std::abs(2 / pi * std::atan(lab::student_t(1)) - 0.95) < 1e-5);
  const double two = lab::student_t(2);
  CHECK(std::abs(two / std::sqrt(2 + two * two) - 0.95) < 1e-5);
  CHECK(lab::student_t(9) == 2.262);
  CHECK(lab::student_t(30) == 2.042);
  CHECK(lab::student_t(31) == 1.96);
  CHECK(lab::student_t(100000) == 1.96);
  CHECK(std::isinf(lab::student_t(0)));
  // The table falls ever more slowly. A wrong digit would break that.
  for (std::size_t n = 2; n <= 29; ++n) {
    INFO(n);
    CHECK(lab::student_t(n) < lab::student_t(n - 1));
    CHECK(lab::student_t(n - 1) - lab::student_t(n) >
          lab::student_t(n) - lab::student_t(n + 1) - 0.0015);
  }
}

TEST_CASE("is_lower: a loss that is not known is never the lowest", "[statistics]") {
  const std::vector<double> losses = {double(NAN), double(INFINITY), 2, double(NAN), 1, 3};
  CHECK(*std::min_element(losses.begin(), losses.end(), lab::is_lower) == 1);
  CHECK(lab::is_lower(INFINITY, NAN));
  CHECK_FALSE(lab::is_lower(NAN, 1));
  CHECK_FALSE(lab::is_lower(NAN, NAN));
}

TEST_CASE("compare: losses that are not finite say nothing", "[statistics]") {
  for (const double bad : {double(NAN), double(INFINITY)}) {
    const lab::Comparison c = lab::compare({1, bad, 3}, {1, 2, 3});
    CHECK_FALSE(c.significant);
    CHECK(c.verdict() == "a run diverged: nothing follows");
  }
}

TEST_CASE("compare: three seeds that agree are significant", "[statistics]") {
  // Differences 1.0, 1.1, 1.2: mean 1.1, deviation 0.1, t = 1.1 / (0.1 / sqrt 3) = 19.05 > 4.303.
  const lab::Comparison c = lab::compare({2.0, 3.1, 4.2}, {1.0, 2.0, 3.0});
  CHECK(near(c.difference.mean, 1.1));
  CHECK(std::abs(c.difference.deviation - 0.1) < 1e-9);
  CHECK(c.difference.count == 3);
  CHECK(c.significant);
  CHECK(c.verdict() == "significant (paired t-test, 5 %)");
  const lab::Comparison turned = lab::compare({1.0, 2.0, 3.0}, {2.0, 3.1, 4.2});
  CHECK(near(turned.difference.mean, -1.1));
  CHECK(turned.significant);
}

TEST_CASE("compare: the bound is Student's point of n - 1 degrees of freedom", "[statistics]") {
  // Differences x - 1, x, x + 1: deviation 1, so that t = x sqrt 3 against 4.303 (normal: 1.96).
  const auto significant = [](double x) {
    return lab::compare({x - 1, x, x + 1}, {0, 0, 0}).significant;
  };
  const double border = 4.303 / std::sqrt(3.0);
  CHECK(significant(border + 0.001));
  CHECK(!significant(border - 0.001));
  CHECK(!significant(-border + 0.001));
  CHECK(significant(-border - 0.001));
  // With two seeds, 12.706: differences x - 1 and x + 1 have deviation sqrt 2, error 1.
  CHECK(lab::compare({12.707 - 1, 12.707 + 1}, {0, 0}).significant);
  CHECK(!lab::compare({12.705 - 1, 12.705 + 1}, {0, 0}).significant);
}

TEST_CASE("compare: it is paired, so seeds that differ much do not hide a difference",
          "[statistics]") {
  CHECK(lab::compare({10.0, 20.1, 30.0, 40.1}, {9.0, 19.0, 29.0, 39.0}).significant);
  // The same values in another order of seeds.
  CHECK(!lab::compare({10.0, 20.1, 30.0, 40.1}, {39.0, 29.0, 19.0, 9.0}).significant);
}

TEST_CASE("compare: no difference is not significant, one seed says nothing", "[statistics]") {
  const lab::Comparison none = lab::compare({1, 2, 3}, {1, 2, 3});
  CHECK(none.difference.mean == 0);
  CHECK(!none.significant);
  CHECK(none.verdict() == "not significant (paired t-test, 5 %)");
  const lab::Comparison one = lab::compare({5}, {1});
  CHECK(near(one.difference.mean, 4));
  CHECK(!one.significant);
  CHECK(has(one.verdict(), "one seed says nothing"));
  CHECK(!lab::compare({}, {}).significant);
  CHECK(lab::compare({1, 2, 3}, {1, 2}).difference.count == 2);
}
