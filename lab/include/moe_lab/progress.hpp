#pragma once
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <moe/train/records.hpp>
#include <moe/train/router_health.hpp>
#include <moe_lab/format.hpp>
#include <moe_lab/resources.hpp>
#include <string>

namespace lab {

/// Shows the progress of a run: on a terminal a moving bar, elsewhere a line every few seconds. The
/// speed excludes evaluations. Its share of `peak_gflops` (0: not shown) counts the operations of
/// model/flops.hpp. The time left includes evaluations.
///
///     lab::Progress progress({.steps = 2000, .flops_per_token = flops, .peak_gflops = peak});
///     callbacks.on_step = [&](const moe::StepRecord& row) { progress.step(row, monitor.sample());
///     };
class Progress {
 public:
  struct Options {
    std::int64_t steps = 0;
    double flops_per_token = 0, peak_gflops = 0;
    bool enabled = true;
    std::FILE* to = stderr;
  };

  explicit Progress(const Options& options)
      : o_(options),
        bar_(options.enabled && ::isatty(::fileno(options.to))),
        start_(Clock::now()) {}
  Progress(const Progress&) = delete;
  ~Progress() { clear(); }

  void step(const moe::StepRecord& row, const Resources& use) {
    if (first_step_ < 0) first_step_ = row.step - 1;
    const auto now = Clock::now();
    const double pause = bar_ ? 0.1 : 5.0;
    const bool last = row.step == o_.steps;
    if (!o_.enabled || (!last && std::chrono::duration<double>(now - shown_).count() < pause))
      return;
    shown_ = now;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const double left = elapsed / double(row.step - first_step_) * double(o_.steps - row.step);
    std::string line = bar(row.step) +
                       format(" %lld/%lld", (long long)row.step, (long long)o_.steps) + "  loss " +
                       loss(row.loss.cross_entropy, "%.3f") + "  " + speed(row.tokens_per_second);
    if (o_.peak_gflops > 0 && row.tokens_per_second > 0)
      line += format("  %.0f %% of peak",
                     row.tokens_per_second * o_.flops_per_token / o_.peak_gflops * 1e-7);
    line += "  " + (o_.steps > 0 ? clock(left) + " left" : "time left unknown") + experts(row) +
            "  " + describe(use);
    if (bar_) {
      std::fprintf(o_.to, "\r\033[K%s", line.c_str());
      on_screen_ = true;
    } else {
      std::fprintf(o_.to, "%s\n", line.c_str());
    }
    std::fflush(o_.to);
  }

  void evaluation(const moe::EvaluationRecord& row) {
    if (!o_.enabled) return;
    std::string text = format("step %lld", (long long)row.step) + "  train " +
                       loss(row.train_loss, "%.4f") + "  validation " + loss(row.loss, "%.4f");
    if (std::isfinite(row.loss)) text += format(" nats (perplexity %.3f)", std::exp(row.loss));
    message(text + (row.best ? "  best so far" : "") + "  " + speed(row.tokens_per_second));
  }

  /// Prints a line above the bar.
  void message(const std::string& text) {
    clear();
    std::fprintf(o_.to, "%s\n", text.c_str());
    std::fflush(o_.to);
  }

  /// Seconds as 1:02:03 or 2:03.
  static std::string clock(double seconds) {
    const long long s = std::llround(std::max(0.0, seconds));
    if (s >= 3600) return format("%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    return format("%lld:%02lld", s / 60, s % 60);
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// The loss of a step or an evaluation as text.
  static std::string loss(double value, const char* format) {
    return std::isfinite(value) ? lab::format(format, value) : "not finite";
  }
  static std::string speed(double tokens_per_second) {
    if (std::isnan(tokens_per_second)) return "speed unknown";
    return format("%.1fk tokens/s", tokens_per_second * 1e-3);
  }

  std::string bar(std::int64_t step) const {
    if (!bar_) return "step";
    constexpr int width = 24;
    const int done = int(width * step / std::max<std::int64_t>(1, o_.steps));
    return "[" + std::string(std::size_t(done), '=') + std::string(std::size_t(width - done), ' ') +
           "]";
  }

  /// The verdict on the worst layer; "" for a dense model.
  static std::string experts(const moe::StepRecord& row) {
    if (row.health.empty()) return "";
    return "  " + moe::health_verdict(row.health, int(row.load.front().size()), row.collapsed);
  }

  void clear() {
    if (on_screen_) std::fputs("\r\033[K", o_.to);
    on_screen_ = false;
  }

  Options o_;
  bool bar_, on_screen_ = false;
  Clock::time_point start_, shown_{};
  std::int64_t first_step_ = -1;
};

}  // namespace lab
