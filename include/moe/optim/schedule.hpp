#pragma once
#include <algorithm>
#include <cmath>
#include <moe/core/check_option.hpp>

// Learning rates as a share of the peak. Steps are optimizer updates, not micro-batches, counted
// from 0. Warm-up starts at 1/warmup rather than 0, and `final` would be reached at step == steps,
// so that no update is wasted on a rate of 0.

namespace moe::inline MOE_ISA {

enum class ScheduleKind { cosine, warmup_stable_decay, constant };

/// The parameters of a schedule. A negative count stands for its default share of the steps.
struct ScheduleOptions {
  int warmup = -1;     // updates; default steps / 20
  int decay = -1;      // updates, warmup_stable_decay only; default steps / 5
  double final = 0.1;  // share of the peak at step == steps
};

/// Checks the options. The three schedules call it themselves; a trainer calls it before the first
/// step.
/// Errors: moe::Error for `steps` below 0, or a share outside of [0, 1].  Test:
/// tests/core/options.cpp.
inline void check_options(const ScheduleOptions& o, int steps) {
  detail::OptionCheck{"follow a schedule", "Schedule"}.at_least("steps", steps, 0);
  const detail::OptionCheck check{"follow a schedule", "ScheduleOptions"};
  check(o.final >= 0 && o.final <= 1, "final", o.final, "from 0 to 1");
}

namespace detail {
inline int count_or_share(int count, int steps, int divisor) {
  return count >= 0 ? count : steps / divisor;
}
/// The progress of `step` from `first` (0) to `last` (1), clamped to [0, 1].
inline double progress(int step, int first, int last) {
  if (step >= last) return 1;
  return std::max(0.0, (double(step) - first) / (double(last) - first));
}
inline double warm_up(int step, int warmup) {
  return step < warmup ? (std::max(step, 0) + 1.0) / warmup : 1;
}
}  // namespace detail

/// Linear warm-up to 1, then  final + (1 - final)(1 + cos(pi t))/2,  t = (step - warmup)/(steps -
/// warmup).   Errors: those of check_options.
/// Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5.  Test: tests/optim/schedule.cpp.
///
///     optimizer.step(moe::cosine(step, steps));  // 5 % warm-up, ends at a tenth of the peak
inline double cosine(int step, int steps, ScheduleOptions o = {}) {
  check_options(o, steps);
  const int warmup = detail::count_or_share(o.warmup, steps, 20);
  if (step < warmup) return detail::warm_up(step, warmup);
  const double t = detail::progress(step, warmup, steps);
  return o.final + (1 - o.final) * 0.5 * (1 + std::cos(3.14159265358979323846 * t));
}

/// Linear warm-up to 1, then constant, then linear decay to `final` over the last `decay` updates.
/// Source: Hu et al. 2024, arXiv:2404.06395, section 4.  Test: tests/optim/schedule.cpp.
///
///     optimizer.step(moe::warmup_stable_decay(step, 5000, {.warmup = 100, .decay = 1000}));
inline double warmup_stable_decay(int step, int steps, ScheduleOptions o = {}) {
  check_options(o, steps);
  const int warmup = detail::count_or_share(o.warmup, steps, 20);
  const int decay = detail::count_or_share(o.decay, steps, 5);
  const double t = detail::progress(step, std::max(warmup, steps - decay), steps);
  return step < warmup ? detail::warm_up(step, warmup) : 1 - (1 - o.final) * t;
}

/// Linear warm-up to 1, then constant.
inline double constant(int step, int steps, ScheduleOptions o = {}) {
  check_options(o, steps);
  return detail::warm_up(step, detail::count_or_share(o.warmup, steps, 20));
}

/// One of the schedules as a value, for trainers and configuration files.
///
///     moe::Schedule lr{.kind = moe::parse_enum<moe::ScheduleKind>("schedule", text), .steps = 9};
///     optimizer.step(lr(step));
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  int steps = 0;
  ScheduleOptions options = {};

  double operator()(int step) const {
    switch (kind) {
      case ScheduleKind::cosine:
        return cosine(step, steps, options);
      case ScheduleKind::warmup_stable_decay:
        return warmup_stable_decay(step, steps, options);
      case ScheduleKind::constant:
        break;
    }
    return constant(step, steps, options);
  }
};

}  // namespace moe
