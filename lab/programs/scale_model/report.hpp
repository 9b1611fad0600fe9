#pragma once
#include <cmath>
#include <moe/io/json.hpp>
#include <moe_lab/format.hpp>

#include "plan.hpp"

// A plan as text and as JSON.

namespace scale {

namespace detail {

template <class... Values>
std::string line(const char* form, Values... values) {
  return lab::format(form, values...) + "\n";
}
inline std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (int at = int(digits.size()) - 3; at > 0; at -= 3) digits.insert(std::size_t(at), 1, ',');
  return digits;
}
inline std::string duration(double hours) {
  if (hours >= 1) return lab::format("%.2f hours", hours);
  return lab::format(hours * 60 >= 1 ? "%.1f minutes" : "%.3f minutes", hours * 60);
}
/// "12.3 M": a plan is not more precise than three digits.
inline std::string rounded(double number) {
  const char* const units[] = {"", " K", " M", " B", " T"};
  int unit = 0;
  while (number >= 999.5 && unit < 4) number /= 1000, ++unit;
  return lab::format("%.3g%s", number, units[unit]);
}

}  // namespace detail

/// The notes that a reader of the plan must know.
inline std::vector<std::string> notes(const Plan& p) {
  std::vector<std::string> notes = {
      "The law was fitted on web text in a vocabulary of about 32,000: nats per token of other "
      "text and other vocabularies differ, compare plans, not losses."};
  const double active = double(p.parameters.active), tokens = double(p.tokens);
  if (active < least_fitted_parameters || active > most_fitted_parameters ||
      tokens < least_fitted_tokens || tokens > most_fitted_tokens) {
    notes.push_back(
        "The law's runs had 57 M to 16 B parameters and 0.25 B to 320 B tokens: this plan is "
        "outside, its loss is an extrapolation.");
  }
  if (p.loss.expected > std::log(double(p.config.vocab))) {
    notes.push_back(
        "A guess among all tokens does better than the expected loss: the law says nothing about "
        "a run this small.");
  }
  if (std::string_view(p.mfu_source) == "assumed") {
    notes.push_back(
        "The share of the peak is an assumption; measure tokens a second of this model and give "
        "--dim and --tokens-per-second.");
  }
  if (p.gpus > 1)
    notes.push_back("Several devices are taken to scale perfectly, each holding the whole model.");
  if (!p.device.gpu)
    notes.push_back(
        "The price of a CPU is that of two rented virtual cores; on a machine of your own it is "
        "the electricity (--price).");
  if (p.hours < 1.0 / 12) notes.push_back("Starting a machine takes longer than this training.");
  if (p.top_of_ladder)
    notes.push_back("The largest model of the ladder was chosen: the budget would pay for more.");
  return notes;
}

inline std::string describe(const Plan& p, double budget) {
  using detail::duration, detail::grouped, detail::line, detail::rounded;
  const moe::ModelConfig& c = p.config;
  std::string out = line(budget >= 0.01 ? "budget       $%.2f on %d x %s at $%.2f an hour"
                                        : "budget       $%.3g on %d x %s at $%.2f an hour",
                         budget, p.gpus, p.device.name.c_str(), p.device.price);
  out += line("run          %s, $%.4g, %.3g FLOPs", duration(p.hours).c_str(), p.cost, p.flops);
  out +=
      line("speed        %s tokens/s: %.2f %% of the peak of %.4g TFLOP/s (%s)",
           rounded(p.tokens_per_second).c_str(), 100 * p.mfu, p.device.peak * 1e-12, p.mfu_source);
  if (c.moe.experts > 0) {
    out +=
        line("model        dim %d, layers %d, heads %d, experts %d of which %d are used, hidden %d",
             c.dim, c.layers, c.heads, c.moe.experts, c.moe.top_k, c.hidden);
  } else {
    out += line("model        dim %d, layers %d, heads %d, dense, hidden %d", c.dim, c.layers,
                c.heads, c.hidden);
  }
  out += line("             context %d, vocabulary %d", c.context, c.vocab);
  out += line("parameters   %s in all, %s active, %s of them embedding",
              grouped(p.parameters.total).c_str(), grouped(p.parameters.active).c_str(),
              grouped(p.parameters.embedding).c_str());
  out += line("tokens       %s, %.1f for each active parameter", grouped(p.tokens).c_str(),
              double(p.tokens) / double(p.parameters.active));
  out += line("updates      %s of %s tokens: %d x %d sequences", grouped(p.steps).c_str(),
              grouped(p.batch_tokens).c_str(), p.accumulation, p.sequences);
  const auto gb = [](double bytes) { return bytes * 1e-9; };
  const Memory& m = p.memory;
  out += line(
      "memory       %.3f GB = weights %.3f + gradients %.3f + optimizer %.3f + activations "
      "%.3f",
      gb(m.total()), gb(m.weights), gb(m.gradients), gb(m.optimizer), gb(m.activations));
  out += line("             %s in %.4g GB%s%s", p.fits ? "fits" : "DOES NOT FIT",
              gb(p.device.memory), p.fits ? "" : ": ", p.advice.c_str());
  out += line("loss         %.3f nats a token expected, between %.3f and %.3f", p.loss.expected,
              p.loss.low, p.loss.high);
  out += line("             %.3f as a dense model of the active size, %.3f of sqrt(active total)",
              p.loss.as_active, p.loss.as_geometric_mean);
  out += line("closed form  C = 6 N D: %s parameters, %s tokens",
              rounded(p.closed_form.parameters).c_str(), rounded(p.closed_form.tokens).c_str());
  for (const std::string& note : notes(p)) out += "note: " + note + "\n";
  return out;
}

inline std::string describe(const std::vector<Offer>& offers) {
  using detail::line, detail::rounded;
  std::string out =
      line("%-6s %8s %12s %10s %8s %8s %8s %8s %7s %14s", "device", "$/hour", "peak TFLOP/s",
           "mfu %", "hours", "active", "total", "tokens", "loss", "range");
  for (const Offer& offer : offers) {
    const Device& d = offer.device;
    if (!offer.plan) {
      out += line("%-6s %8.2f %12.4g  %s", d.name.c_str(), d.price, d.peak * 1e-12,
                  offer.reason.c_str());
      continue;
    }
    const Plan& p = *offer.plan;
    out += line("%-6s %8.2f %12.4g %10.2f %8.4g %8s %8s %8s %7.3f %6.3f to %.3f", d.name.c_str(),
                d.price, d.peak * 1e-12, 100 * p.mfu, p.hours,
                rounded(double(p.parameters.active)).c_str(),
                rounded(double(p.parameters.total)).c_str(), rounded(double(p.tokens)).c_str(),
                p.loss.expected, p.loss.low, p.loss.high);
  }
  return out;
}

inline moe::Json to_json(const Law& law) {
  moe::Json json;
  json["name"] = law.name;
  json["e"] = law.e, json["a"] = law.a, json["b"] = law.b;
  json["alpha"] = law.alpha, json["beta"] = law.beta;
  return json;
}

inline moe::Json to_json(const Plan& p) {
  const moe::ModelConfig& c = p.config;
  moe::Json json;
  json["device"] = p.device.name, json["gpus"] = p.gpus;
  json["price_per_hour"] = p.device.price, json["peak_flops"] = p.device.peak;
  json["mfu"] = p.mfu, json["mfu_source"] = p.mfu_source;
  json["tokens_per_second"] = p.tokens_per_second;
  json["hours"] = p.hours, json["device_hours"] = p.device_hours(), json["cost"] = p.cost;
  json["flops"] = p.flops, json["flops_per_token"] = p.flops_of_token;
  moe::Json& config = json["config"];
  config["vocab"] = c.vocab, config["d_model"] = c.dim, config["n_layers"] = c.layers;
  config["n_heads"] = c.heads, config["d_ff"] = c.hidden, config["max_seq_len"] = c.context;
  config["num_experts"] = c.moe.experts;
  config["expert_top_k"] = c.moe.experts > 0 ? c.moe.top_k : 0;
  json["params_total"] = p.parameters.total, json["params_active"] = p.parameters.active;
  json["params_embedding"] = p.parameters.embedding;
  json["tokens"] = p.tokens, json["updates"] = p.steps, json["batch_tokens"] = p.batch_tokens;
  json["sequences"] = p.sequences, json["accumulation"] = p.accumulation;
  moe::Json& memory = json["memory"];
  memory["weights"] = p.memory.weights, memory["gradients"] = p.memory.gradients;
  memory["optimizer"] = p.memory.optimizer, memory["activations"] = p.memory.activations;
  memory["total"] = p.memory.total(), memory["device"] = p.device.memory;
  memory["fits"] = p.fits, memory["advice"] = p.advice;
  moe::Json& loss = json["loss"];
  loss["expected"] = p.loss.expected, loss["low"] = p.loss.low, loss["high"] = p.loss.high;
  loss["as_active"] = p.loss.as_active, loss["as_geometric_mean"] = p.loss.as_geometric_mean;
  json["closed_form"]["parameters"] = p.closed_form.parameters;
  json["closed_form"]["tokens"] = p.closed_form.tokens;
  json["notes"] = notes(p);
  return json;
}

inline moe::Json to_json(const std::vector<Offer>& offers) {
  moe::Json json = moe::Json::array();
  for (const Offer& offer : offers) {
    moe::Json row;
    if (offer.plan) row = to_json(*offer.plan);
    row["device"] = offer.device.name;
    if (!offer.plan) row["reason"] = offer.reason;
    json.push_back(std::move(row));
  }
  return json;
}

}  // namespace scale
