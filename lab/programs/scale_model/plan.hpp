#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <moe/model/flops.hpp>
#include <moe_lab/format.hpp>
#include <optional>
#include <vector>

#include "devices.hpp"
#include "law.hpp"
#include "shape.hpp"

// From a budget to a model, its data and its training numbers.

namespace scale {

/// What the user asks for. Every figure that is assumed can be replaced.
struct Request {
  double budget = 0;  // dollars
  Device device = {};
  int gpus = 1;
  std::optional<double> mfu = {}, tokens_per_second = {};             // of one device
  int experts = 8, top_k = 2, context = 512, vocab = 49152, dim = 0;  // dim 0: the best
  Law law = besiroglu;
  bool own_law = false;     // then other laws do not widen the range of the loss
  double batch_tokens = 0;  // of one update; 0: by the rule
  int sequences = 0;        // of one pass; 0: as many as fit, up to pass_tokens
  Widths bytes = {};
  double muon_lr = 0.02, adamw_lr = 3e-3;
};

/// The most tokens of one pass, enough to keep a device busy. Larger batches are accumulated.
inline constexpr int pass_tokens = 16384;
/// The share of a device's memory that a plan may use. The rest is for the system and the
/// allocator.
inline constexpr double usable_memory = 0.9;
inline constexpr int least_updates = 100;

struct Plan {
  Device device = {};
  int gpus = 1;
  moe::ModelConfig config = {};
  Parameters parameters = {};
  double mfu = 0, flops_of_token = 0;
  const char* mfu_source = "";
  int steps = 0, sequences = 0, accumulation = 0;
  std::int64_t batch_tokens = 0, tokens = 0;
  double hours = 0, cost = 0, flops = 0;  // for `tokens`; hours by the clock
  double tokens_per_second = 0;           // of all devices
  Memory memory = {};                     // of one device
  bool fits = false;
  std::string advice = {};  // when it does not fit
  Optimum closed_form = {};
  LossRange loss = {};
  bool top_of_ladder = false;

  double device_hours() const { return hours * gpus; }
};

namespace detail {
inline std::string text(double number) {
  return lab::format("%.10g", number);
}
}  // namespace detail

/// Errors: a figure that makes no sense; the first one is named.
inline void check(const Request& r) {
  const auto must = [](bool good, const std::string& option, double value, const char* rule) {
    if (good) return;
    throw moe::Error("cannot plan with ", option, " ", detail::text(value), ": it must be ", rule);
  };
  const auto positive = [&](const char* option, double value) {
    must(value > 0 && std::isfinite(value), option, value, "above 0 and finite");
  };
  const auto between = [&](const char* option, double value, double least, double most) {
    const std::string rule = "between " + detail::text(least) + " and " + detail::text(most);
    must(value >= least && value <= most, option, value, rule.c_str());
  };
  must(r.budget > 0 && r.budget <= 1e9, "--budget", r.budget, "above 0 and at most 1e9 dollars");
  between("--price", r.device.price, 1e-6, 1e6);
  between("--peak-tflops", r.device.peak * 1e-12, 1e-6, 1e9);
  positive("--memory-gb", r.device.memory);
  between("--gpus", r.gpus, 1, 1 << 20);
  if (r.mfu) must(*r.mfu > 0 && *r.mfu <= 1, "--mfu", *r.mfu, "above 0 and at most 1");
  if (r.tokens_per_second) between("--tokens-per-second", *r.tokens_per_second, 1e-3, 1e15);
  between("--experts", r.experts, 0, 1024);
  if (r.experts > 0) {
    must(r.top_k >= 1 && r.top_k <= r.experts, "--top-k", r.top_k,
         "at least 1 and at most --experts");
  }
  between("--context", r.context, 1, 1 << 20);
  between("--vocab", r.vocab, 2, 1 << 24);
  must(r.dim % 64 == 0, "--dim", r.dim, "a multiple of 64, the width of a head");
  between("--dim", r.dim, 0, 64 * rungs);
  must(r.batch_tokens >= 0 && r.batch_tokens <= 1e12, "--batch-tokens", r.batch_tokens,
       "above 0 and at most 1e12");
  between("--sequences", r.sequences, 0, 1 << 20);
  positive("--law-a", r.law.a), positive("--law-b", r.law.b);
  positive("--law-alpha", r.law.alpha), positive("--law-beta", r.law.beta);
  must(r.law.e >= 0 && std::isfinite(r.law.e), "--law-e", r.law.e, "0 or more and finite");
  positive("--bytes-weight", r.bytes.weight), positive("--bytes-gradient", r.bytes.gradient);
  positive("--bytes-state", r.bytes.state), positive("--bytes-activation", r.bytes.activation);
  positive("--muon-lr", r.muon_lr), positive("--adamw-lr", r.adamw_lr);
}

/// Sequences of one update: as many as hold 4 sqrt(tokens) tokens, rounded to a power of two, at
/// least one, and few enough for least_updates updates.
inline int batch_rule(double tokens, int context) {
  const double wanted = std::max(1.0, 4 * std::sqrt(tokens) / context);
  const double most = std::max(1.0, tokens / context / least_updates);
  const int exponent = std::min(int(std::lround(std::log2(wanted))), int(std::log2(most)));
  return 1 << std::clamp(exponent, 0, 20);
}

/// The most sequences, a power of two up to `most`, with which training fits into the memory; 0 if
/// not even one does.
inline int fitting_sequences(const moe::ModelConfig& c, const Widths& bytes, double capacity,
                             int most) {
  int fitting = 0;
  for (int s = 1; s <= most; s *= 2)
    if (memory(c, std::int64_t(s) * c.context, bytes).total() <= capacity) fitting = s;
  return fitting;
}

namespace detail {

inline std::string advice(const Request& r, const moe::ModelConfig& c, double capacity) {
  if (const int s = fitting_sequences(c, r.bytes, capacity, r.sequences); s > 0)
    return "use --sequences " + std::to_string(s) + ", which accumulates more passes an update";
  for (int e = c.moe.experts - 1; e >= std::max(1, c.moe.top_k); --e) {
    moe::ModelConfig fewer = c;
    fewer.moe.experts = e;
    if (fitting_sequences(fewer, r.bytes, capacity, 1) > 0)
      return "use --experts " + std::to_string(e) + ", with which one sequence fits";
  }
  return "take a device with more memory, a smaller --dim, or fewer bytes a number";
}

/// Divides the tokens that the money pays for into updates and passes.
inline void divide(Plan& plan, const Request& r, double affordable) {
  const moe::ModelConfig& c = plan.config;
  const double capacity = usable_memory * plan.device.memory;
  std::int64_t batch = batch_rule(affordable, c.context);  // sequences
  if (r.batch_tokens > 0)
    batch = std::max<std::int64_t>(1, std::llround(r.batch_tokens / c.context));
  plan.sequences = r.sequences;
  if (plan.sequences == 0) {
    const auto most = std::min<std::int64_t>(batch, std::max(1, pass_tokens / c.context));
    plan.sequences = std::max(1, fitting_sequences(c, r.bytes, capacity, int(most)));
  }
  plan.accumulation = int(std::max<std::int64_t>(1, (batch + plan.sequences / 2) / plan.sequences));
  plan.batch_tokens = std::int64_t(plan.sequences) * plan.accumulation * c.context;
  const double steps = std::floor(affordable / double(plan.batch_tokens));
  if (steps < 1) {
    throw moe::Error("cannot plan for --budget ", text(r.budget), " on ", plan.device.name,
                     ": it pays for ", text(std::floor(affordable)),
                     " tokens, less than one update of ", text(double(plan.batch_tokens)),
                     "; raise --budget or lower --batch-tokens and --sequences");
  }
  if (steps > std::numeric_limits<int>::max()) {
    throw moe::Error("cannot plan ", text(steps), " updates of ", text(double(plan.batch_tokens)),
                     " tokens: a program counts up to 2147483647; raise --batch-tokens");
  }
  plan.steps = int(steps);
  plan.tokens = plan.batch_tokens * plan.steps;
  plan.memory = memory(c, std::int64_t(plan.sequences) * c.context, r.bytes);
  plan.fits = plan.memory.total() <= capacity;
  if (!plan.fits) plan.advice = advice(r, c, capacity);
}

}  // namespace detail

/// The model of the ladder with the least expected loss. Only two kinds of models are considered:
/// those that the budget trains on at least as many tokens as the law finds optimal for their
/// active size, and those that see more tokens than every smaller model. A device-hour gives 3600
/// peak mfu / token_flops tokens. More money never gives a higher loss, because it only adds models
/// and tokens.
/// Errors: check(r); a budget too small for the smallest model; a speed above the peak.
/// Test: tests/lab/scale_model.cpp.
inline Plan make_plan(const Request& r) {
  check(r);
  const double seconds = r.budget / r.device.price * 3600;  // of one device
  const int first = r.dim > 0 ? r.dim / 64 : 1, last = r.dim > 0 ? first : rungs;
  Plan plan{.device = r.device, .gpus = r.gpus};
  double least = std::numeric_limits<double>::infinity(), most_tokens = 0, affordable = 0;
  for (int rung = first; rung <= last; ++rung) {
    const moe::ModelConfig c = ladder(rung, r.vocab, r.context, r.experts, r.top_k);
    const double flops = moe::token_flops(c).training();
    const double share = r.tokens_per_second ? *r.tokens_per_second * flops / r.device.peak
                         : r.mfu             ? *r.mfu
                                             : assumed_mfu(r.device, c.dim);
    const double tokens = r.tokens_per_second ? seconds * *r.tokens_per_second
                                              : seconds * r.device.peak * share / flops;
    const double active = double(count(c).active);
    const bool enough = active <= optimal_parameters(r.law, tokens);
    const bool more = tokens > most_tokens;
    most_tokens = std::max(most_tokens, tokens);
    const double loss = r.law.loss(active, tokens);
    if (!(enough || more) || loss >= least) continue;
    least = loss, affordable = tokens;
    plan.config = c, plan.parameters = count(c), plan.mfu = share, plan.flops_of_token = flops;
    plan.top_of_ladder = rung == rungs && r.dim == 0;
  }
  plan.mfu_source = r.tokens_per_second ? "measured" : r.mfu ? "given" : "assumed";
  if (plan.mfu > 1) {
    throw moe::Error("cannot plan with --tokens-per-second ", detail::text(*r.tokens_per_second),
                     ": a model of dim ", plan.config.dim, " would run at ", detail::text(plan.mfu),
                     " times the peak of ", r.device.name,
                     "; give the speed of one device, and with --dim the width it was measured at");
  }
  if (affordable < double(least_updates) * r.context) {
    throw moe::Error("cannot plan for --budget ", detail::text(r.budget), " on ", r.device.name,
                     ": a model of dim ", plan.config.dim, " would see ",
                     detail::text(std::floor(affordable)), " tokens, less than ", least_updates,
                     " updates of one sequence; raise --budget");
  }
  detail::divide(plan, r, affordable);
  plan.flops = plan.flops_of_token * double(plan.tokens);
  plan.tokens_per_second = r.device.peak * plan.mfu / plan.flops_of_token * r.gpus;
  plan.hours = double(plan.tokens) / plan.tokens_per_second / 3600;
  plan.cost = plan.device_hours() * r.device.price;
  plan.closed_form = optimum(r.law, plan.flops);
  const Law laws[] = {r.law, besiroglu, hoffmann};
  plan.loss = loss_range({laws, r.own_law ? 1u : 3u}, double(plan.parameters.active),
                         double(plan.parameters.total), double(plan.tokens));
  return plan;
}

/// One line of a comparison: a plan, or why there is none.
struct Offer {
  Device device = {};
  std::optional<Plan> plan = {};
  std::string reason = {};
};

/// The same budget on every device of the table, the least expected loss first. A given speed and
/// given figures of a device hold for request.device only; a given MFU holds for all.
inline std::vector<Offer> compare(const Request& request) {
  check(request);
  std::vector<Offer> offers;
  for (const Device& device : devices) {
    Request r = request;
    if (device.name != request.device.name) {
      r.device = device;
      r.tokens_per_second.reset();
    }
    try {
      offers.push_back({r.device, make_plan(r), {}});
    } catch (const moe::Error& error) {
      offers.push_back({r.device, {}, error.what()});
    }
  }
  std::stable_sort(offers.begin(), offers.end(), [](const Offer& a, const Offer& b) {
    if (!a.plan || !b.plan) return bool(a.plan) && !b.plan;
    return a.plan->loss.expected < b.plan->loss.expected;
  });
  return offers;
}

}  // namespace scale
