#pragma once
#include <cmath>
#include <moe_lab/format.hpp>
#include <moe_lab/study.hpp>

// The table of llm-moe's document, made for each rule that holds one quantity equal.

namespace dense_vs_moe {

using lab::format;

/// All seeds of one group of runs.
struct Group {
  std::string name;
  lab::Model model;
  std::vector<lab::Outcome> seeds = {};

  std::vector<double> values(double lab::Outcome::*member) const {
    std::vector<double> all;
    for (const lab::Outcome& o : seeds) all.push_back(o.*member);
    return all;
  }
  std::vector<double> losses() const { return values(&lab::Outcome::loss); }
};

/// What is held equal, and the groups that are compared: the first one with each of the others.
struct Rule {
  std::string name, why;
  std::vector<const Group*> groups;
};

inline double mean(const std::vector<double>& values) {
  return lab::spread(values).mean;
}

inline std::string row(const Group& g) {
  const lab::Spread loss = lab::spread(g.losses());
  double updates = 0, tokens = 0;
  for (const lab::Outcome& o : g.seeds) {
    updates += double(o.updates) / double(g.seeds.size());
    tokens += double(o.tokens) / double(g.seeds.size());
  }
  const double accuracy = 100 * mean(g.values(&lab::Outcome::accuracy));
  const auto known = [](const char* form, double x) {
    return std::isfinite(x) ? format(form, x) : format("%10s", "unknown");
  };
  return format("  %-22s%10zu%10zu%9.0f%9.2f%9.3f ", g.name.c_str(), g.model.parameters.total,
                g.model.parameters.active, updates, tokens * 1e-6,
                mean(g.values(&lab::Outcome::flops)) * 1e-12) +
         lab::describe(loss) + known("%8.2f %%", accuracy) + known("%8.3f", std::exp(loss.mean)) +
         format("%9.1f\n", mean(g.values(&lab::Outcome::seconds)));
}

/// The table of a rule, followed by the differences and whether they are significant.
inline std::string describe(const Rule& rule) {
  std::string text = format("\n%s: %s\n  %-22s%10s%10s%9s%9s%9s%17s%10s%8s%9s\n", rule.name.c_str(),
                            rule.why.c_str(), "", "params", "active", "updates", "Mtokens", "TFLOP",
                            "val loss (nats)", "accuracy", "ppl", "seconds");
  for (const Group* g : rule.groups) text += row(*g);
  for (std::size_t i = 1; i < rule.groups.size(); ++i) {
    const Group &first = *rule.groups[0], &other = *rule.groups[i];
    const lab::Comparison c = lab::compare(other.losses(), first.losses());
    const double share = 100 * c.difference.mean / mean(first.losses());
    text += format("  %s minus %s: %s nats", other.name.c_str(), first.name.c_str(),
                   c.amount().c_str()) +
            (std::isfinite(share) ? format(" (%+.1f %%)", share) : "") + ", " + c.verdict() + "\n";
  }
  return text;
}

inline moe::Json to_json(const Rule& rule) {
  moe::Json json;
  json["rule"] = rule.name;
  json["rows"] = moe::Json::array();
  json["comparisons"] = moe::Json::array();
  for (const Group* g : rule.groups) {
    const lab::Spread loss = lab::spread(g->losses());
    moe::Json one;
    one["group"] = g->name;
    one["params_total"] = g->model.parameters.total;
    one["params_active"] = g->model.parameters.active;
    one["val_loss_mean"] = loss.mean;
    one["val_loss_deviation"] = loss.deviation;
    one["val_accuracy_mean"] = mean(g->values(&lab::Outcome::accuracy));
    one["val_perplexity"] = std::exp(loss.mean);
    one["flops_mean"] = mean(g->values(&lab::Outcome::flops));
    one["seconds_mean"] = mean(g->values(&lab::Outcome::seconds));
    json["rows"].push_back(std::move(one));
    if (g == rule.groups[0]) continue;
    const lab::Comparison c = lab::compare(g->losses(), rule.groups[0]->losses());
    moe::Json difference;
    difference["group"] = g->name;
    difference["minus"] = rule.groups[0]->name;
    difference["difference_mean"] = c.difference.mean;
    difference["difference_deviation"] = c.difference.deviation;
    difference["significant"] = c.significant;
    json["comparisons"].push_back(std::move(difference));
  }
  return json;
}

}  // namespace dense_vs_moe
