// Compares a dense transformer with its twins with experts, on the same seeds and data, under three
// rules: equal updates, equal training FLOPs, equal wall time. dense_vs_moe --help tells the
// options.
#include <algorithm>
#include <cmath>
#include <moe_lab/knobs.hpp>
#include <moe_lab/limits.hpp>

#include "presets.hpp"
#include "table.hpp"

namespace dense_vs_moe {
namespace {

struct Request {
  lab::Common common;
  std::string preset = "small", layers = {}, rates = {};
  std::uint64_t seed = 42;
  int seeds = 3;
};

const Twins& find(const Request& r) {
  std::string known;
  for (const Twins& t : twins) {
    if (r.preset != t.preset) continue;
    if (r.layers.empty() || r.layers == t.layers) return t;
    known += (known.empty() ? "" : " or ") + std::string(t.layers);
  }
  throw moe::Error("cannot compare preset '", r.preset, "' with experts in layers '", r.layers,
                   "': that model is not compiled in; use --moe-layers ", known);
}

void check_counts(const Twins& t) {
  if (std::string(t.preset) != "paper") return;
  const auto dense = lab::model(t.dense).parameters, moe = lab::model(t.moe).parameters;
  if (dense.total != paper_dense_total || moe.total != paper_moe_total ||
      moe.active != paper_moe_active)
    throw moe::Error(
        "cannot train preset paper: its parameter counts are not those of the document; the "
        "configuration was changed");
}

class Program {
 public:
  Program(const Request& r, const Twins& t, lab::Settings settings)
      : r_(r),
        s_(std::move(settings)),
        dense_{"dense", model(t.dense)},
        moe_{"moe", model(t.moe)},
        iso_{"moe_iso_active", model(t.iso_active)},
        flops_{"dense_equal_flops", model(t.dense)},
        time_{"dense_equal_time", model(t.dense)} {}

  std::string describe() const {
    std::string text;
    for (const Group* g : {&dense_, &moe_, &iso_})
      text += format("%-16s%11zu parameters, %11zu active; %.2f MFLOP a token\n", g->name.c_str(),
                     g->model.parameters.total, g->model.parameters.active,
                     g->model.flops(s_.length) * 1e-6);
    return text + format("dense at equal FLOPs: %d updates for %d of the mixture\n",
                         equal_flops_steps(), s_.steps);
  }

  int run(const lab::Data& data) {
    moe::Json about;
    about["settings"] = moe::to_json(s_);
    about["layers"] = r_.layers;
    about["rates"] = r_.rates;
    about["seeds"] = r_.seeds;
    about["seed"] = r_.seed;
    if (!r_.rates.empty()) rates_ = lab::numbers(r_.rates, "--rates");
    for (const Group* g : {&dense_, &moe_, &iso_}) g->model.require_room(s_, r_.common.threads);
    lab::Study study(r_.common, data, "dense_vs_moe", std::move(about));
    study.set_seeds(r_.seed, r_.seeds);
    study.json()["budget"]["rule"] = "updates";
    study.json()["budget"]["updates"] = s_.steps;
    study.json()["budget"]["tokens"] =
        std::int64_t(s_.steps) * s_.batch * s_.length * s_.accumulation;
    choose_rates(study);
    for (int i = 0; i < r_.seeds; ++i) {
      const std::uint64_t seed = r_.seed + std::uint64_t(i);
      train(study, dense_, rate_[0], s_.steps, seed);
      train(study, moe_, rate_[1], s_.steps, seed);
      train(study, iso_, rate_[2], s_.steps, seed);
      train(study, flops_, rate_[0], equal_flops_steps(), seed);
      train(study, time_, rate_[0], equal_time_steps(), seed);
    }
    const Rule rules[] = {
        {"equal updates", "the same batches; the mixture does more arithmetic", {&dense_, &moe_}},
        {"equal training FLOPs", "the dense model sees more text", {&flops_, &moe_}},
        {"equal wall time", "as measured here, training alone", {&time_, &moe_}},
        {"equal active parameters",
         "experts half as wide, so that two are one feed-forward; equal updates",
         {&dense_, &iso_}}};
    study.json()["rules"] = moe::Json::array();
    std::printf("\n== %s, %d seeds from %llu, %d updates of %d tokens, %s\n", r_.preset.c_str(),
                r_.seeds, (unsigned long long)r_.seed, s_.steps,
                s_.batch * s_.length * s_.accumulation, data.source.c_str());
    for (const Rule& rule : rules) {
      std::printf("%s", dense_vs_moe::describe(rule).c_str());
      study.json()["rules"].push_back(to_json(rule));
    }
    return study.end();
  }

 private:
  lab::Model model(const char* name) const { return lab::model(lab::variant(name, s_.precision)); }
  int equal_flops_steps() const {
    return int(std::lround(s_.steps * moe_.model.flops(s_.length) / dense_.model.flops(s_.length)));
  }
  /// Updates of the dense model that take as long as the mixture's run, by the seconds per update
  /// of the last run of each.
  int equal_time_steps() const {
    const lab::Outcome &dense = dense_.seeds.back(), &moe = moe_.seeds.back();
    if (!(dense.seconds > 0 && moe.seconds > 0)) return s_.steps;
    return std::max(1, int(std::lround(moe.seconds / dense.seconds * double(dense.updates))));
  }

  lab::Outcome run_one(lab::Study& study, const Group& group, const std::string& name, double rate,
                       int steps, std::uint64_t seed) {
    lab::Settings s = s_;
    (s.optimizer == "adamw" ? s.adamw_lr : s.muon_lr) = rate;
    s.steps = steps;
    s.seed = seed;
    return study.run({name, group.name, group.model, s});
  }
  void train(lab::Study& study, Group& group, double rate, int steps, std::uint64_t seed) {
    const std::string name = group.name + "_seed" + std::to_string(seed);
    group.seeds.push_back(run_one(study, group, name, rate, steps, seed));
  }

  /// Chooses for each model the best of --rates, by one run for each rate with the first seed, at
  /// equal updates.
  void choose_rates(lab::Study& study) {
    const double given = s_.optimizer == "adamw" ? s_.adamw_lr : s_.muon_lr;
    std::fill(std::begin(rate_), std::end(rate_), given);
    if (rates_.empty()) return;
    const Group* groups[] = {&dense_, &moe_, &iso_};
    for (int g = 0; g < 3; ++g) {
      double best = INFINITY;
      for (const double rate : rates_) {
        Group tried{"rates_" + groups[g]->name, groups[g]->model};
        const double loss = run_one(study, tried, format("%s_lr%g", tried.name.c_str(), rate), rate,
                                    s_.steps, r_.seed)
                                .loss;
        if (loss < best) best = loss, rate_[g] = rate;
      }
      std::printf("%s: best learning rate %g\n", groups[g]->name.c_str(), rate_[g]);
      study.json()["best_rates"][groups[g]->name] = rate_[g];
    }
  }

  const Request& r_;
  lab::Settings s_;
  Group dense_, moe_, iso_, flops_, time_;
  double rate_[3] = {};
  std::vector<double> rates_;  // to choose from
};

int run(Request& r, const lab::Knobs<lab::Settings>& knobs) {
  const Twins& t = find(r);
  check_counts(t);
  lab::Settings settings = t.settings();
  lab::apply(knobs, settings);
  lab::settle_precision<lab::Model>(settings.precision, r.common, lab::precision_begun(r.common),
                                    {t.moe, t.dense, t.iso_active});
  Program program(r, t, settings);
  std::printf("%s", program.describe().c_str());
  if (r.common.dry_run) return 0;
  const lab::Data data({.path = r.common.data,
                        .text = t.text,
                        .vocabulary = r.common.vocabulary,
                        .tokenizer = r.common.tokenizer,
                        .stories = r.common.stories,
                        .vocab = lab::model(t.dense).config.vocab,
                        .cache = r.common.out});
  std::printf("%s", data.describe().c_str());
  lab::check_sizes(settings, lab::model(t.dense).config.context, data);
  return program.run(data);
}

}  // namespace
}  // namespace dense_vs_moe

int main(int argc, char** argv) {
  dense_vs_moe::Request r;
  CLI::App app("Trains a dense transformer and its twins with experts, and compares them honestly.",
               "dense_vs_moe");
  app.add_option("--preset", r.preset, "tiny, small (default) or paper")
      ->check(CLI::IsMember({"tiny", "small", "paper"}));
  app.add_option("--moe-layers", r.layers,
                 "Layers with experts: all, alternate (1, 3, 5 ...) or last-half; default: all, "
                 "paper: alternate")
      ->transform(CLI::CheckedTransformer(lab::moe_layers_names));
  app.add_option("--rates", r.rates,
                 "Learning rates, as in 0.01,0.02: each model gets its best one");
  app.add_option("--seed", r.seed, "First seed")->check(CLI::NonNegativeNumber);
  app.add_option("--seeds", r.seeds, "How many; default 3")->check(CLI::Range(1, 1000));
  const lab::Knobs<lab::Settings> knobs(app);
  const char* const folder = "results/dense_vs_moe";
  lab::add_text_options(app, r.common, "Tiny Shakespeare or TinyStories");
  lab::add_run_options(app, r.common, folder);
  lab::add_plot_options(app, r.common);
  return lab::run_program(argc, argv, app, r.common, folder, [&] { return run(r, knobs); });
}
