#include "../../lab/programs/upcycle/verification.hpp"

#include "catch.hpp"
#include "messages.hpp"

using moe::test::has;

using namespace growth;

namespace {

moe::UpcycleReport differs(double difference, double ulp) {
  moe::UpcycleReport report;
  report.max_difference = difference, report.max_ulp = ulp;
  report.exact = true;  // which the verification must not rely on
  return report;
}

}  // namespace

TEST_CASE("verification: a recipe that promises the same bits passes at 0 only", "[verification]") {
  for (const moe::Recipe recipe : {moe::Recipe::copy, moe::Recipe::shared}) {
    const Promise promise = promise_of(recipe);
    for (const char* precision : {"float", "bf16"}) {
      CHECK(has(verdict(promise, differs(0, 0), precision), "PASSED"));
      CHECK_NOTHROW(require(promise, differs(0, 0), precision));
      for (const double bad : {1e-30, 1.0, double(NAN), double(INFINITY)}) {
        CHECK(has(verdict(promise, differs(bad, 1), precision), "FAILED"));
        CHECK_THROWS_AS(require(promise, differs(bad, 1), precision), moe::Error);
      }
    }
  }
}

TEST_CASE("verification: sums in another order may differ by rounding", "[verification]") {
  for (const moe::Recipe recipe : {moe::Recipe::permute, moe::Recipe::virtual_groups}) {
    const Promise promise = promise_of(recipe);
    CHECK(has(verdict(promise, differs(1.7e-5, 19), "float"), "PASSED"));
    CHECK(has(verdict(promise, differs(0.1, 1e5), "float"), "FAILED"));
    CHECK_THROWS_AS(require(promise, differs(0.1, 1e5), "float"), moe::Error);
    CHECK_THROWS_AS(require(promise, differs(NAN, 0), "float"), moe::Error);
    // A unit in the last place of bf16 is 2^16 of float's.
    CHECK(has(verdict(promise, differs(0.01, 0.33), "bf16"), "PASSED"));
    CHECK(has(verdict(promise, differs(0.6, 19), "bf16"), "FAILED"));
    CHECK_THROWS_AS(require(promise, differs(0.6, 19), "bf16"), moe::Error);
    CHECK_THROWS_AS(require(promise, differs(NAN, 0), "bf16"), moe::Error);
  }
}

TEST_CASE("verification: recipes that change the experts promise nothing", "[verification]") {
  for (const moe::Recipe recipe : {moe::Recipe::noise, moe::Recipe::drop}) {
    const Promise promise = promise_of(recipe);
    CHECK(has(verdict(promise, differs(4, 1e6), "float"), "NONE"));
    CHECK_NOTHROW(require(promise, differs(4, 1e6), "float"));
  }
}
