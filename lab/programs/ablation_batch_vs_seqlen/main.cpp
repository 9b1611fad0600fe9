// What should fill the memory: many short sequences, or few long ones? Compares three strategies at
// several learning rates, all with the same number of tokens (or of updates), on the same
// validation windows.
// ablation_batch_vs_seqlen --help tells the options.
#include <algorithm>
#include <cmath>
#include <moe_lab/knobs.hpp>
#include <moe_lab/study.hpp>
#include <numeric>

#include "presets.hpp"

namespace ablation {
namespace {

struct Request {
  lab::Common common;
  bool quick = false;
  std::string rates = {}, budget = "tokens";
  double tokens = 0;
  int updates = 0, eval_length = 0, seeds = 1;
  std::uint64_t seed = 42;
};

struct Result {
  const Strategy* strategy;
  double rate;
  std::vector<double> losses = {}, speeds = {};
};

class Program {
 public:
  Program(const Request& r, const Preset& p, lab::Settings settings,
          const lab::Knobs<lab::Settings>& knobs)
      : r_(r),
        p_(p),
        model_(lab::model(lab::variant(p.model, settings.precision))),
        settings_(std::move(settings)) {
    knobs.refuse({"--batch", "--length", "--steps", "--eval-every", "--eval-length"},
                 "the strategies and the budget decide it; use --tokens, --updates or "
                 "--common-length");
    knobs.refuse({settings_.optimizer == "adamw" ? "--adamw-lr" : "--muon-lr"}, "use --rates");
    if (r.budget == "tokens" ? r.updates > 0 : r.tokens > 0)
      throw moe::Error("cannot use --", r.budget == "tokens" ? "updates" : "tokens",
                       " with --budget ", r.budget, ": all runs have equal ", r.budget, "; give --",
                       r.budget);
    const std::string rates = r.rates.empty() ? p.rates : r.rates;
    rates_ = lab::numbers(rates, "--rates");
    std::sort(rates_.begin(), rates_.end());
    for (const Strategy& s : p.strategies) common_ = std::lcm(common_, tokens_of(s));
    const double wanted = r.tokens > 0 ? r.tokens : p.tokens;
    tokens_ = std::max<std::int64_t>(1, std::llround(wanted / double(common_))) * common_;
    for (const Strategy& each : p.strategies)
      if (tokens_ / tokens_of(each) > 1 << 30)
        throw moe::Error("cannot train ", tokens_,
                         " tokens in each run: that is more than 2^30 updates; give less --tokens");
    updates_ = r.updates > 0 ? r.updates : int(tokens_ / tokens_of(p.strategies[0]));
    settings_.eval_length = r.eval_length > 0 ? r.eval_length : p.eval_length;
    if (settings_.eval_length > model_.config.context)
      throw moe::Error("cannot use --common-length ", settings_.eval_length,
                       ": the context of the model is ", model_.config.context,
                       " tokens; use a shorter one");
  }

  std::string describe() const {
    std::string text = r_.budget == "tokens"
                           ? "equal tokens: " + std::to_string(tokens_) + " for each run\n"
                           : "equal updates: " + std::to_string(updates_) + " for each run\n";
    for (const Strategy& s : p_.strategies) {
      text += lab::format("  %-12s %d x %d, %lld tokens an update, %d updates\n", s.name, s.batch,
                          s.length, (long long)tokens_of(s), updates_of(s));
    }
    return text + "validation windows of " + std::to_string(settings_.eval_length) +
           " tokens for all; " + std::to_string(p_.evaluations) + " evaluations in each run\n";
  }

  int run(const lab::Data& data) {
    int longest = 0;
    for (const Strategy& s : p_.strategies) longest = std::max(longest, s.length);
    data.check_size(longest, settings_.eval_length,
                    r_.quick ? "" : ", or use --quick, whose windows are shorter");
    moe::Json about;
    about["settings"] = moe::to_json(settings_);
    about["preset"] = p_.name;
    about["rates"] = r_.rates;
    about["budget"] = r_.budget;
    about["tokens_of_a_run"] = tokens_;
    about["updates"] = updates_;
    about["seed"] = r_.seed;
    about["seeds"] = r_.seeds;
    for (const Strategy& strategy : p_.strategies) {
      lab::Settings s = settings_;
      s.batch = strategy.batch, s.length = strategy.length;
      model_.require_room(s, r_.common.threads);
    }
    lab::Study study(r_.common, data, "ablation", std::move(about));
    study.json()["budget"]["rule"] = r_.budget;
    study.json()["budget"][r_.budget] = r_.budget == "tokens" ? tokens_ : std::int64_t(updates_);
    study.json()["eval_length"] = settings_.eval_length;
    study.set_seeds(r_.seed, r_.seeds);
    study.json()["ablation_configs"] = moe::Json::array();
    study.json()["results"] = moe::Json::array();
    std::vector<Result> results;
    for (const double rate : rates_)
      for (const Strategy& s : p_.strategies) results.push_back({&s, rate});
    for (int i = 0; i < r_.seeds; ++i)
      for (Result& result : results) train(study, result, r_.seed + std::uint64_t(i));
    report(study, results);
    return study.end();
  }

 private:
  std::int64_t tokens_of(const Strategy& s) const {
    return std::int64_t(s.batch) * s.length * settings_.accumulation;
  }
  int updates_of(const Strategy& s) const {
    return r_.budget == "tokens" ? int(tokens_ / tokens_of(s)) : updates_;
  }

  void train(lab::Study& study, Result& result, std::uint64_t seed) {
    const Strategy& strategy = *result.strategy;
    lab::Settings s = settings_;
    s.batch = strategy.batch, s.length = strategy.length, s.seed = seed;
    s.steps = updates_of(strategy);
    s.eval_every = std::max(1, s.steps / p_.evaluations);
    (s.optimizer == "adamw" ? s.adamw_lr : s.muon_lr) = result.rate;
    const std::string config = lab::format("%s_lr%g", strategy.name, result.rate),
                      name = seed == r_.seed ? config : config + "_seed" + std::to_string(seed);
    const lab::Outcome out = study.run({name, strategy.name, model_, s});
    result.losses.push_back(out.loss);
    result.speeds.push_back(out.tokens_per_second());
    add_documents_fields(study, name, config, strategy, result.rate, out);
  }

  /// Adds the run to the fields that the script of the reproduced document writes.
  void add_documents_fields(lab::Study& study, const std::string& name, const std::string& config,
                            const Strategy& strategy, double rate, const lab::Outcome& out) const {
    moe::Json c;
    c["name"] = config;
    c["batch_size"] = strategy.batch;
    c["seq_len"] = strategy.length;
    c["lr"] = rate;
    c["effective_batch"] = strategy.batch * settings_.accumulation;
    c["tokens_per_step"] = tokens_of(strategy);
    if (name == config) study.json()["ablation_configs"].push_back(std::move(c));
    const std::string file = study.folder(name) + "/results.json";
    const moe::Json run = moe::parse_json(moe::read_file(file), file);
    moe::Json r;
    r["config_name"] = config;
    r["folder"] = "runs/" + name;
    r["final_val_loss"] = out.loss;
    r["final_val_acc"] = out.accuracy;
    r["avg_tokens_per_sec"] = out.tokens_per_second();
    r["total_time"] = out.seconds;
    r["train_losses"] = run.at("train_losses", file);
    r["val_metrics"] = moe::Json::array();
    const moe::Json& e = run.at("eval_metrics", file);
    for (std::size_t i = 0; i < e.at("steps", file).items(file).size(); ++i) {
      moe::Json point;
      const auto put = [&](const char* to, const char* from) {
        point[to] = e.at(from, file).items(file)[i];
      };
      put("step", "steps"), put("tokens", "tokens");
      put("val_loss", "losses"), put("val_accuracy", "accuracies");
      r["val_metrics"].push_back(std::move(point));
    }
    study.json()["results"].push_back(std::move(r));
    study.save();
  }

  void report(lab::Study& study, const std::vector<Result>& results) const {
    std::printf("\nvalidation loss (nats) on windows of %d tokens, %s, %d seeds\n  %-14s",
                settings_.eval_length, r_.budget == "tokens" ? "equal tokens" : "equal updates",
                r_.seeds, "");
    for (const double rate : rates_) std::printf("        lr %-8g", rate);
    std::printf("  best rate's tokens/s\n");
    const Result* winner = nullptr;
    for (const Strategy& s : p_.strategies) {
      std::printf("  %-14s", s.name);
      const Result* best = nullptr;
      for (const Result& r : results) {
        if (r.strategy != &s) continue;
        const lab::Spread loss = lab::spread(r.losses);
        std::printf("  %s", lab::describe(loss).c_str());
        if (!best || lab::is_lower(loss.mean, lab::spread(best->losses).mean)) best = &r;
      }
      const double speed = lab::spread(best->speeds).mean;
      std::printf("  %12s\n", std::isnan(speed) ? "unknown" : lab::format("%.0f", speed).c_str());
      if (!winner ||
          lab::is_lower(lab::spread(best->losses).mean, lab::spread(winner->losses).mean))
        winner = best;
    }
    for (const Strategy& s : p_.strategies) {
      if (&s == winner->strategy) continue;
      const Result* best = nullptr;
      for (const Result& r : results)
        if (r.strategy == &s &&
            (!best || lab::is_lower(lab::spread(r.losses).mean, lab::spread(best->losses).mean)))
          best = &r;
      const lab::Comparison c = lab::compare(winner->losses, best->losses);
      std::printf("  %s (lr %g) minus %s (lr %g): %s nats, %s\n", winner->strategy->name,
                  winner->rate, s.name, best->rate, c.amount().c_str(), c.verdict().c_str());
    }
    const bool edge =
        rates_.size() > 1 && (winner->rate == rates_.front() || winner->rate == rates_.back());
    if (edge)
      std::printf("  lr %g is at the edge of the rates: a better one may lie outside (--rates)\n",
                  winner->rate);
    moe::Json& summary = study.json()["summary"];
    summary["at_the_edge_of_the_rates"] = edge;
    summary["best"] = winner->strategy->name;
    summary["best_lr"] = winner->rate;
    summary["best_val_loss"] = lab::spread(winner->losses).mean;
  }

  const Request& r_;
  const Preset& p_;
  lab::Model model_;
  lab::Settings settings_;
  std::vector<double> rates_;
  std::int64_t common_ = 1, tokens_ = 0;
  int updates_ = 0;
};

int run(Request& r, const lab::Knobs<lab::Settings>& knobs) {
  const Preset& preset = r.quick ? quick : full;
  lab::Settings settings = preset.settings;
  settings.accumulation = 1, settings.log_every = 1;  // some runs have few updates
  lab::apply(knobs, settings);
  lab::settle_precision<lab::Model>(settings.precision, r.common, lab::precision_begun(r.common),
                                    {preset.model});
  Program program(r, preset, settings, knobs);
  std::printf("%s", program.describe().c_str());
  if (r.common.dry_run) return 0;
  const lab::Data data({.path = r.common.data,
                        .text = "shakespeare",
                        .tokenizer = r.common.tokenizer,
                        .stories = r.common.stories,
                        .cache = r.common.out});
  std::printf("%s", data.describe().c_str());
  return program.run(data);
}

}  // namespace
}  // namespace ablation

int main(int argc, char** argv) {
  ablation::Request r;
  CLI::App app("Compares large batches of short sequences with small batches of long ones.",
               "ablation_batch_vs_seqlen");
  app.add_flag("--quick", r.quick,
               "A quarter of every batch and length, on a tiny model: about a minute");
  app.add_option("--rates", r.rates, "Learning rates; default 0.005,0.01,0.02");
  app.add_option("--budget", r.budget, "What all runs have the same number of: tokens or updates")
      ->check(CLI::IsMember({"tokens", "updates"}));
  app.add_option("--tokens", r.tokens, "Tokens of a run, rounded to whole updates of all")
      ->check(CLI::Range(1.0, 1e12));
  app.add_option("--updates", r.updates, "Updates of a run, with --budget updates")
      ->check(CLI::Range(1, 1 << 30));
  app.add_option("--common-length", r.eval_length, "Tokens of the validation windows of all runs")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--seed", r.seed, "First seed")->check(CLI::NonNegativeNumber);
  app.add_option("--seeds", r.seeds, "How many; default 1")->check(CLI::Range(1, 1000));
  const lab::Knobs<lab::Settings> knobs(app);
  const char* const folder = "results/ablation_batch_vs_seqlen";
  lab::add_text_options(app, r.common, "Tiny Shakespeare");
  lab::add_run_options(app, r.common, folder);
  lab::add_plot_options(app, r.common);
  return lab::run_program(argc, argv, app, r.common, folder, [&] { return run(r, knobs); });
}
