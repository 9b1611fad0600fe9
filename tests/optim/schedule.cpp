#include <moe/optim/schedule.hpp>

#include "catch.hpp"
#include "model.hpp"

using moe::ScheduleKind;

namespace {
bool near(double a, double b) {
  return std::abs(a - b) < 1e-12;
}
}  // namespace

TEST_CASE("Schedule: warm-up starts at 1/warmup and reaches the peak", "[schedule]") {
  for (const auto kind :
       {ScheduleKind::cosine, ScheduleKind::warmup_stable_decay, ScheduleKind::constant}) {
    const moe::Schedule lr{kind, 100, {.warmup = 4}};
    CHECK(near(lr(0), 0.25));
    CHECK(near(lr(1), 0.5));
    CHECK(near(lr(3), 1));
    CHECK(near(lr(4), 1));
  }
}

TEST_CASE("cosine: half-way is the mean of peak and end, and the end is the limit", "[schedule]") {
  CHECK(near(moe::cosine(52, 100, {.warmup = 4, .final = 0.2}), 0.6));
  CHECK(near(moe::cosine(28, 100, {.warmup = 4, .final = 0}), 0.5 + 0.5 * std::sqrt(0.5)));
  CHECK(near(moe::cosine(100, 100, {.warmup = 4, .final = 0.2}), 0.2));
  CHECK(near(moe::cosine(1000, 100), 0.1));
  CHECK(moe::cosine(99, 100, {.warmup = 4, .final = 0}) > 0);
}

TEST_CASE("cosine: the default warm-up is a twentieth of the steps", "[schedule]") {
  CHECK(near(moe::cosine(0, 2000), 0.01));
  CHECK(near(moe::cosine(99, 2000), 1));
  CHECK(moe::cosine(101, 2000) < 1);
}

TEST_CASE("warmup_stable_decay: flat, then linear to the end", "[schedule]") {
  const moe::ScheduleOptions o{.warmup = 10, .decay = 20, .final = 0.5};
  CHECK(near(moe::warmup_stable_decay(4, 100, o), 0.5));
  CHECK(near(moe::warmup_stable_decay(10, 100, o), 1));
  CHECK(near(moe::warmup_stable_decay(80, 100, o), 1));
  CHECK(near(moe::warmup_stable_decay(90, 100, o), 0.75));
  CHECK(near(moe::warmup_stable_decay(99, 100, o), 0.525));
  CHECK(near(moe::warmup_stable_decay(100, 100, o), 0.5));
  CHECK(near(moe::warmup_stable_decay(90, 100), 0.55));
}

TEST_CASE("constant: the peak after the warm-up, for ever", "[schedule]") {
  CHECK(near(moe::constant(0, 100), 0.2));
  CHECK(near(moe::constant(5, 100), 1));
  CHECK(near(moe::constant(1000000, 100), 1));
}

TEST_CASE("Schedule: short runs and no warm-up divide by nothing", "[schedule]") {
  for (const auto kind :
       {ScheduleKind::cosine, ScheduleKind::warmup_stable_decay, ScheduleKind::constant})
    for (int steps = 0; steps < 4; ++steps)
      for (int step = 0; step < 5; ++step) {
        for (const int warmup : {-1, 0, 3}) {
          const double factor = moe::Schedule{kind, steps, {.warmup = warmup}}(step);
          CHECK(factor > 0);
          CHECK(factor <= 1);
        }
      }
}
