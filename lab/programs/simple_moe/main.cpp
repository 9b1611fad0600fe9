// Trains the simple transformer with a mixture of experts with Muon and AdamW. Can also compare the
// two optimizers, each at its best learning rate. simple_moe --help tells the options.
#include <algorithm>
#include <cmath>
#include <moe_lab/knobs.hpp>
#include <moe_lab/limits.hpp>
#include <moe_lab/presets.hpp>
#include <moe_lab/study.hpp>
#include <optional>

#include "build.hpp"
#include "structure.hpp"

namespace simple_moe {
namespace {

/// The parameter counts of the documents' model. The active ones include every part that a token
/// uses.
constexpr std::size_t paper_total = 79'059'840, paper_active = 36'592'512;

struct Request {
  lab::Common common;
  lab::Settings settings;
  std::string preset = "small", muon_rates = {}, adamw_rates = {}, header = {};
  std::optional<int> seeds;
  bool build = false;
};

/// What a preset starts from. A program that was built for a user's own model has only that model
/// compiled in, but knows the settings of all presets.
struct Preset {
  std::string name;  // also the name of its model
  lab::Settings settings;
  lab::ModelConfig config;
  const char* text;
};
std::vector<Preset> presets() {
  std::vector<Preset> all = {{"tiny", lab::tiny_settings, lab::tiny, "shakespeare"},
                             {"small", lab::small_settings, lab::small, "shakespeare"},
                             {"paper", lab::paper_settings, lab::paper, "stories"}};
  if (const auto* settings = lab::find_compiled<lab::Settings>("custom"))
    all.push_back({"custom", *settings, lab::model("custom").config, "shakespeare"});
  return all;
}

void check_counts(const lab::Model& model) {
  if (!std::string(model.name).starts_with("paper")) return;
  if (model.parameters.total != paper_total || model.parameters.active != paper_active)
    throw moe::Error("cannot train preset paper: it has ", model.parameters.total, " parameters, ",
                     model.parameters.active, " active, and must have ", paper_total, " and ",
                     paper_active, "; the configuration was changed");
}

std::string describe(const lab::Model& model) {
  const auto& p = model.parameters;
  return std::string("model ") + model.name + ": " + std::to_string(p.total) + " parameters, " +
         std::to_string(p.active) + " active for a token (" + std::to_string(p.embedding) +
         " of them the embedding), " + std::to_string(model.config.moe.experts) + " experts, top-" +
         std::to_string(model.config.moe.top_k) + ", " + model.precision + "\n";
}

int train(const Request& r, const lab::Model& model, const lab::Data& data) {
  model.require_room(r.settings, r.common.threads);
  const moe::FolderLock lock = lab::open_folder(r.common, false);
  const lab::Outcome out = model.train({.settings = r.settings,
                                        .data = data,
                                        .folder = r.common.out,
                                        .name = std::string("simple_moe ") + model.name,
                                        .program = r.common.program,
                                        .command = r.common.command,
                                        .threads = r.common.threads,
                                        .resume = r.common.resume,
                                        .progress = r.common.progress});
  std::string line = lab::describe(out);
  if (std::isfinite(out.loss) && !out.failed())
    line = lab::format(
        "validation %.4f nats (best %.4f), accuracy %s, perplexity %.4g", out.loss, out.best,
        std::isnan(out.accuracy) ? "not known" : lab::format("%.4f", out.accuracy).c_str(),
        std::exp(out.loss));
  line += lab::format(" after %lld updates, %.2f M tokens, %.0f s of training",
                      (long long)out.updates, double(out.tokens) * 1e-6, out.seconds);
  if (out.seconds > 0) line += lab::format(" (%.0f tokens/s)", out.tokens_per_second());
  std::printf("%s\nresults in %s; the same again: %s\n", line.c_str(), r.common.out.c_str(),
              lab::again(r.common).c_str());
  const int plots = lab::plots_at_the_end(r.common);
  if (!out.failed()) return plots;
  std::fprintf(stderr,
               "moe: the model is not trained: the run diverged, or most of its updates were "
               "skipped; take a lower learning rate\n");
  return 1;
}

/// All runs of one optimizer: every rate is tried with the first seed, the best rate with all
/// seeds.
struct Side {
  std::string optimizer;
  std::vector<double> rates;
  std::vector<double> first = {};  // losses of the rates, first seed
  std::vector<double> best = {};   // losses of the best rate, all seeds
  double rate = 0;

  bool at_the_edge() const {
    return rates.size() > 1 && (rate == rates.front() || rate == rates.back());
  }
};

int compare(const Request& r, const lab::Model& model, const lab::Data& data) {
  const int seeds = r.seeds.value_or(1);
  moe::Json about;
  about["settings"] = moe::to_json(r.settings);
  about["muon_rates"] = r.muon_rates;
  about["adamw_rates"] = r.adamw_rates;
  about["seeds"] = seeds;
  Side sides[] = {{"muon", lab::numbers(r.muon_rates, "--muon-rates")},
                  {"adamw", lab::numbers(r.adamw_rates, "--adamw-rates")}};
  for (const Side& side : sides) {
    lab::Settings s = r.settings;
    s.optimizer = side.optimizer;
    model.require_room(s, r.common.threads);
  }
  lab::Study study(r.common, data, "optimizers", std::move(about));
  study.set_seeds(r.settings.seed, seeds);
  study.json()["budget"]["rule"] = "updates";
  study.json()["budget"]["updates"] = r.settings.steps;
  study.json()["budget"]["tokens"] = std::int64_t(r.settings.steps) * r.settings.batch *
                                     r.settings.length * r.settings.accumulation;
  const auto run = [&](const Side& side, double rate, int i) {
    lab::Settings s = r.settings;
    s.optimizer = side.optimizer;
    (s.optimizer == "muon" ? s.muon_lr : s.adamw_lr) = rate;
    s.seed += std::uint64_t(i);
    const std::string name =
        lab::format("%s_lr%g_seed%llu", s.optimizer.c_str(), rate, (unsigned long long)s.seed);
    return study.run({name, side.optimizer, model, s}).loss;
  };
  for (Side& side : sides) {
    std::sort(side.rates.begin(), side.rates.end());
    for (const double rate : side.rates) side.first.push_back(run(side, rate, 0));
    const auto least = std::min_element(side.first.begin(), side.first.end(), lab::is_lower);
    side.rate = side.rates[std::size_t(least - side.first.begin())];
    side.best = {*least};
  }
  for (int i = 1; i < seeds; ++i)
    for (Side& side : sides) side.best.push_back(run(side, side.rate, i));

  std::printf("\nvalidation loss in nats after %d updates, seed %llu\n", r.settings.steps,
              (unsigned long long)r.settings.seed);
  for (const Side& side : sides) {
    std::printf("  %-6s", side.optimizer.c_str());
    for (std::size_t i = 0; i < side.rates.size(); ++i)
      std::printf(
          "  lr %g: %s", side.rates[i],
          std::isfinite(side.first[i]) ? lab::format("%.4f", side.first[i]).c_str() : "diverged");
    std::printf("\n");
  }
  std::printf("best rate of each, %d seeds: mean and standard deviation\n", seeds);
  for (const Side& side : sides) {
    const lab::Spread s = lab::spread(side.best);
    std::printf(
        "  %-6s lr %-6g %s%s\n", side.optimizer.c_str(), side.rate, lab::describe(s).c_str(),
        side.at_the_edge() ? "  (at the edge of the grid: a better one may lie outside)" : "");
    moe::Json& json = study.json()["summary"][side.optimizer];
    json["rate"] = side.rate;
    json["loss_mean"] = s.mean;
    json["loss_deviation"] = s.deviation;
    json["at_the_edge_of_the_grid"] = side.at_the_edge();
  }
  const lab::Comparison c = lab::compare(sides[0].best, sides[1].best);
  std::printf("muon minus adamw: %s, %s\n", c.amount().c_str(), c.verdict().c_str());
  study.json()["summary"]["difference_mean"] = c.difference.mean;
  study.json()["summary"]["difference_deviation"] = c.difference.deviation;
  study.json()["summary"]["significant"] = c.significant;
  return study.end();
}

/// The name of the compiled model of this structure, or "" if there is none.
std::string compiled(const lab::ModelConfig& config) {
  for (const Preset& preset : presets())
    if (lab::find_compiled<lab::Model>(preset.name) &&
        moe::to_json(preset.config) == moe::to_json(config))
      return preset.name;
  return "";
}

/// The command line for the program that is built for the model: --model becomes --preset custom,
/// and --build is left out.
std::vector<std::string> options_for_custom(const std::vector<std::string>& words) {
  std::vector<std::string> options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool alone = words[i] == "--model";
    if (alone || words[i].starts_with("--model=")) {
      options.insert(options.end(), {"--preset", "custom"});
      i += alone;
    } else if (words[i] != "--build") {
      options.push_back(words[i]);
    }
  }
  return options;
}

/// Writes the header of a model that is not compiled in, and returns its path.
std::string write_header(const Request& r, const lab::ModelConfig& config) {
  std::string header = r.common.out + "/model.hpp";
  moe::make_folders(r.common.out);
  moe::detail::require_ours(header, [](const std::string& path) {
    return moe::read_file(path).find("namespace emitted") != std::string::npos;
  });
  moe::write_file(header, model_header(config, r.settings));
  return header;
}

/// `words`: the options of the command line.
int run(Request& r, const lab::Knobs<lab::Settings>& knobs, const Structure& structure,
        const std::vector<std::string>& words) {
  if (!r.header.empty()) return become_custom(r.header, options_for_custom(words));
  const std::vector<Preset> all = presets();
  const auto preset =
      std::find_if(all.begin(), all.end(), [&](const Preset& p) { return r.preset == p.name; });
  if (preset == all.end())
    throw moe::Error("cannot use preset '", r.preset,
                     "': no model of yours is compiled in; use --model HEADER");
  const std::uint64_t seed = r.settings.seed;
  r.settings = preset->settings;
  r.settings.seed = seed;
  lab::apply(knobs, r.settings);
  const lab::ModelConfig config = structure.of(preset->config);
  const std::string name = compiled(config);
  if (name.empty()) {
    const std::string header = write_header(r, config);
    if (r.build) return become_custom(header, options_for_custom(words));
    std::fprintf(stderr,
                 "moe: a model of this structure is not compiled in: it was written to '%s'; the "
                 "same options and --build build the program for it and train it\n",
                 header.c_str());
    return 3;
  }
  std::string& precision = r.settings.precision;
  lab::settle_precision<lab::Model>(precision, r.common, lab::precision_begun(r.common), {name});
  const lab::Model& model = lab::model(lab::variant(name, precision));
  r.settings.model = model.name;
  check_counts(model);
  std::printf("%s", describe(model).c_str());
  const lab::DataOptions text{.path = r.common.data,
                              .text = preset->text,
                              .vocabulary = r.common.vocabulary,
                              .tokenizer = r.common.tokenizer,
                              .stories = r.common.stories,
                              .vocab = model.config.vocab,
                              .cache = r.common.out};
  if (r.common.dry_run) {
    if (!r.common.tokenizer.empty())
      std::printf("tokenizer: %d tokens of the model's %d, from %s\n",
                  lab::Data::tokenizer_of(text, r.common.tokenizer).vocab_size(), text.vocab,
                  r.common.tokenizer.c_str());
    std::printf("%s", model.plan(r.settings, r.common.threads).c_str());
    return 0;
  }
  const lab::Data data(text);
  std::printf("%s", data.describe().c_str());
  lab::check_sizes(r.settings, model.config.context, data);
  if (r.muon_rates.empty() != r.adamw_rates.empty())
    throw moe::Error(
        "cannot compare the optimizers: only one grid of rates was given; give both "
        "--muon-rates and --adamw-rates");
  if (r.muon_rates.empty() && r.seeds)
    throw moe::Error(
        "cannot use --seeds for one run: it is for the comparison of optimizers; give "
        "--muon-rates and --adamw-rates, or --seed");
  if (!r.muon_rates.empty())
    knobs.refuse({"--optimizer", "--muon-lr"}, "the comparison takes both from its grids");
  return r.muon_rates.empty() ? train(r, model, data) : compare(r, model, data);
}

}  // namespace
}  // namespace simple_moe

int main(int argc, char** argv) {
  simple_moe::Request r;
  CLI::App app("Trains a small transformer with a mixture of experts with Muon and AdamW.",
               "simple_moe");
  CLI::Option* const preset =
      app.add_option("--preset", r.preset, "tiny, small (default), paper, or custom");
  preset->check(CLI::IsMember({"tiny", "small", "paper", "custom"}));
  app.add_option("--seed", r.settings.seed, "Of initial values, batches, dropout and noise")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--muon-rates", r.muon_rates,
                 "Compare the optimizers: learning rates of Muon, as in 0.01,0.02");
  app.add_option("--adamw-rates", r.adamw_rates, "... and of AdamW");
  app.add_option("--seeds", r.seeds, "Seeds of the best rates in that comparison")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--build", r.build,
               "Build the program for a structure that is not compiled in, and train it");
  app.add_option("--model", r.header,
                 "Header of a model, as scale_model --emit writes it: built, then trained")
      ->excludes(preset);
  const lab::Knobs<lab::Settings> knobs(app);
  const simple_moe::Structure structure(app);
  const char* const folder = "results/simple_moe";
  lab::add_text_options(app, r.common, "Tiny Shakespeare or TinyStories");
  lab::add_run_options(app, r.common, folder);
  lab::add_plot_options(app, r.common);
  return lab::run_program(argc, argv, app, r.common, folder, [&] {
    return run(r, knobs, structure, {argv + 1, argv + argc});
  });
}
