#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace moe {

/// A file of JSON objects, one a line, each on its way to the disk before the next: readable while
/// it grows, and after a crash. A resumed run first drops the rows of steps it will do again.
/// Errors: moe::Error naming the file (full disk, permissions).  Test: tests/metrics.cpp.
///
///     moe::MetricsWriter metrics("runs/demo/metrics.jsonl");
///     metrics.write(row);
class MetricsWriter {
 public:
  /// Starts a new file, or with `keep_to` >= 0 goes on behind the rows with "step" <= keep_to.
  /// Lines that are no such rows are not worth stopping for: they go to a file beside it.
  explicit MetricsWriter(std::string path, std::int64_t keep_to = -1) : path_(std::move(path)) {
    const bool goes_on = keep_to >= 0 && detail::exists(path_);
    write_file(path_, goes_on ? kept_rows(keep_to) : "");
    file_ = detail::open_file(path_, O_WRONLY | O_APPEND);
    if (file_.get() < 0) detail::file_failed("write", path_, errno);
  }

  /// How many lines could not be read, and where they are now.
  int set_aside() const { return set_aside_; }
  std::string set_aside_path() const { return path_ + ".unreadable"; }

  void write(const Json& row) {
    const std::string line = row.dump() + "\n";
    struct stat before;
    if (::fstat(file_.get(), &before) != 0) detail::file_failed("write", path_, errno);
    for (std::size_t done = 0; done < line.size();) {
      const ssize_t put = ::write(file_.get(), line.data() + done, line.size() - done);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) {
        const int code = put == 0 ? ENOSPC : errno;
        // Half a row would spoil the one that is written behind it later.
        static_cast<void>(!::ftruncate(file_.get(), before.st_size));
        detail::file_failed("write", path_, code);
      }
      done += static_cast<std::size_t>(put);
    }
  }

 private:
  std::string kept_rows(std::int64_t keep_to) {
    const std::string text = read_file(path_);
    std::string kept, unreadable;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      const std::optional<std::int64_t> step = step_of(line);
      if (!step) unreadable += line + "\n", ++set_aside_;
      if (step && *step <= keep_to) kept += line + "\n";
      begin = end + 1;
    }
    if (set_aside_ > 0) {
      const std::string aside = set_aside_path();
      write_file(aside, (detail::exists(aside) ? read_file(aside) : "") + unreadable);
    }
    return kept;
  }
  static std::optional<std::int64_t> step_of(const std::string& line) {
    try {
      return parse_json(line).at("step").as_int("step");
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  std::string path_;
  detail::Descriptor file_;
  int set_aside_ = 0;
};

/// How evenly one MoE layer uses its experts, from their shares f of the assignments (sum 1). NaN,
/// and no dead experts, where the shares are not known: before the first pass they sum to 0.
struct RouterHealth {
  double effective_experts = 0;  // exp(-sum f ln f): experts when even, top_k when collapsed
  double max_violation = 0;      // experts * max f - 1: 0 when even
  int dead_experts = 0;          // below 1 % of the fair share
};

/// Never throws, never allocates.  Test: tests/metrics.cpp.
inline RouterHealth router_health(std::span<const double> load) {
  RouterHealth health;
  double entropy = 0, most = 0, sum = 0;
  const double experts = double(load.size());
  for (const double f : load) sum += f;
  if (!(sum > 0)) {
    health.effective_experts = health.max_violation = std::numeric_limits<double>::quiet_NaN();
    return health;
  }
  for (const double f : load) {
    if (f > 0) entropy -= f * std::log(f);
    most = std::max(most, f);
    health.dead_experts += f * experts < 0.01;
  }
  health.effective_experts = std::exp(entropy);
  health.max_violation = experts * most - 1;
  return health;
}

/// One line for a person: "healthy" when every layer uses three quarters of its experts, else what
/// is wrong with the worst. `collapsed`: layers that RouterSentinel has given up on. "" for a dense
/// model.  Test: tests/metrics.cpp.
///
///     health_verdict(row.health, 8, row.collapsed)  ->  "healthy (7.6 of 8 experts)"
inline std::string health_verdict(std::span<const RouterHealth> layers, int experts,
                                  int collapsed = 0) {
  if (layers.empty()) return "";
  std::size_t worst = 0;
  int dead = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const double used = layers[i].effective_experts;
    if (std::isnan(used)) return "expert load not known";
    if (used < layers[worst].effective_experts) worst = i;
    dead += layers[i].dead_experts;
  }
  const double used = layers[worst].effective_experts;
  char text[96];
  if (collapsed > 0)
    std::snprintf(text, sizeof text, "COLLAPSED in %d of %zu layers", collapsed, layers.size());
  else if (dead > 0)
    std::snprintf(text, sizeof text, "%d dead", dead);
  else
    std::snprintf(text, sizeof text, "%s", used < 0.75 * experts ? "uneven" : "healthy");
  std::string verdict = text;
  std::snprintf(text, sizeof text, " (%.1f of %d experts", used, experts);
  verdict += text;
  if (used < 0.75 * experts) verdict += " in layer " + std::to_string(worst);
  return verdict + ")";
}

/// Watches the MoE layers of a run and speaks up once for each layer that collapses: fewer than
/// top_k + 1 effective experts or a violation above 1.5 (share of one expert against the fair
/// share) for `rows` steps in a row.   Test: tests/metrics.cpp.
///
///     moe::RouterSentinel sentinel(8, 2);
///     if (auto warning = sentinel.observe(layer, health); !warning.empty()) ...
class RouterSentinel {
 public:
  RouterSentinel(int experts, int top_k, int rows = 100)
      : experts_(experts), top_k_(top_k), rows_(rows) {}

  /// With so few experts that collapsed and even are neighbours, the line lies halfway.
  double least_effective() const { return std::min(top_k_ + 1.0, (top_k_ + experts_) / 2.0); }
  bool is_collapsed(const RouterHealth& health) const {
    if (experts_ <= top_k_) return false;
    return health.effective_experts < least_effective() || health.max_violation > 1.5;
  }

  /// The warning of a layer, or "".
  std::string observe(int layer, const RouterHealth& health) {
    if (std::size_t(layer) >= bad_.size()) bad_.resize(std::size_t(layer) + 1);
    int& bad = bad_[std::size_t(layer)];
    bad = is_collapsed(health) ? bad + 1 : 0;
    if (bad != rows_) return "";
    return "the router of MoE layer " + std::to_string(layer) + " has collapsed: for " +
           std::to_string(rows_) + " steps it used " + rounded(health.effective_experts) + " of " +
           std::to_string(experts_) + " experts (largest share " +
           rounded(health.max_violation + 1) + " times the fair one); raise balance_weight";
  }

  /// Layers that have been in this state for long enough.
  int collapsed() const {
    return int(std::count_if(bad_.begin(), bad_.end(), [&](int bad) { return bad >= rows_; }));
  }

 private:
  static std::string rounded(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", x);
    return text;
  }
  int experts_, top_k_, rows_;
  std::vector<int> bad_;
};

}  // namespace moe
