// Trains, evaluates and samples small language models of Shakespeare's plays, or of another text,
// character by character or byte by byte.  shakespeare train|demo|eval|sample --help tells the
// options.
#include <moe/train/run_folder.hpp>
#include <moe_lab/cli.hpp>
#include <optional>

#include "options.hpp"

namespace shakespeare {
namespace {

constexpr const char* demo_folder = "runs/demo";

/// The settings of a checkpoint. Those that an older checkpoint lacks are the preset's.
Settings settings_of(const std::string& checkpoint, const Preset& preset) {
  const moe::Json manifest = moe::read_manifest(checkpoint);
  moe::Json all = moe::to_json(preset.defaults);
  for (const auto& [name, value] : manifest.at("run").at("settings").members("settings"))
    all[name] = value;
  Settings settings;
  moe::from_json(settings, all, "settings");
  return settings;
}

/// The text for a run that is resumed or a model that is evaluated, with the checkpoint's
/// vocabulary.
Data text_of(const Origin& origin, const std::string& path) {
  Data data(path);
  data.vocabulary = origin.vocabulary;
  return data;
}

/// The model of this name in the precision of the request, which is settled first. `begun`: see
/// lab::settle_precision.
const Model& settled(TrainRequest& request, const char* name, const std::string& begun) {
  std::string& precision = request.settings.precision;
  lab::settle_precision<Model>(precision, request.common, begun, {name});
  return lab::get_compiled<Model>(lab::variant(name, precision));
}

/// The model that a checkpoint is loaded into, in the precision of the request.
template <class Request>
const Model& model_for(const Request& request, const Origin& origin) {
  const char* const name = preset_named(origin.preset).model(origin.vocabulary);
  return lab::get_compiled<Model>(
      lab::variant(name, lab::chosen_precision<Model>(request.precision, {name}, request.threads)));
}

int resume(TrainRequest& request, const Changes& changes) {
  const lab::Common& common = request.common;
  const std::string last = moe::require_checkpoints(common.out).front();
  const Origin origin(last);
  const Preset preset = preset_named(origin.preset);
  if (changes.preset && *changes.preset != origin.preset) {
    throw UsageError("cannot resume '", common.out, "' with preset ", *changes.preset,
                     ": it was trained with ", origin.preset, "; leave --preset out");
  }
  if (changes.sizes.given()) changes.chosen(origin.preset);
  const Settings saved = settings_of(last, preset);
  request.settings = saved;
  changes.apply(request.settings);
  const Model& model = settled(request, preset.model(origin.vocabulary), saved.precision);
  for (const auto& d : moe::differences(moe::to_json(saved), moe::to_json(request.settings)))
    std::fprintf(stderr, "note: %s is now %s, it was %s: the run changes from here on\n",
                 d.field.c_str(), d.second.c_str(), d.first.c_str());
  if (common.dry_run) return model.plan(request);
  Data data = text_of(origin, common.data);
  if (!origin.text.empty() && origin.text != data.hash) {
    throw moe::Error("cannot resume '", common.out, "' with ", data.name(),
                     ": it was trained on another one", origin.where(), "; give the same --data");
  }
  data.encode(model.config.context);
  return model.train(request, data);
}

/// `name`: the preset that the user named, if any. `fastest`: the precision is what is faster here,
/// unless the user gave it, and the time that bf16 saves is spent on more updates.
int start(TrainRequest& request, const Changes& changes, const std::optional<std::string>& name,
          bool fastest = false) {
  const Preset preset = changes.chosen(name);
  fastest = fastest && !changes.knobs.given("--precision");
  request.settings = preset.defaults;
  if (fastest) request.settings.precision = "auto";
  changes.apply(request.settings);
  const Settings& s = request.settings;
  lab::Common& common = request.common;
  lab::settle(common, "runs/" + s.preset);
  if (s.warmup > s.steps) {
    std::fprintf(stderr,
                 "note: the warm-up of %d updates is longer than the run of %d: the peak rate is "
                 "never reached; --warmup shortens it\n",
                 s.warmup, s.steps);
  }
  const moe::ModelConfig config = preset.config();
  const auto settled_here = [&](const char* model) -> const Model& {
    const Model& chosen = settled(request, model, "");
    const bool demo = s.preset == demo_settings.preset && !changes.knobs.given("--steps");
    if (fastest && demo && s.precision == "bf16") request.settings.steps = demo_bf16_steps;
    return chosen;
  };
  if (common.dry_run && common.data.empty()) return settled_here(preset.characters).plan(request);
  Data data(common.data);
  data.choose_vocabulary(config.vocab);
  if (data.vocabulary.is_bytes()) {
    const int found = moe::CharTokenizer(data.corpus.text).size();
    if (!preset.bytes) {
      throw moe::Error("cannot train on ", data.name(), " with preset ", s.preset, ": it has ",
                       found, " distinct characters and the preset ", config.vocab,
                       "; choose the preset demo, quick, document or full, which then reads bytes");
    }
    std::fprintf(stderr,
                 "note: the text has %d distinct characters, more than the %d of the preset: its "
                 "tokens are bytes\n",
                 found, config.vocab);
  }
  const Model& model = settled_here(preset.model(data.vocabulary));
  if (common.dry_run) return model.plan(request);
  data.encode(config.context);
  return model.train(request, data);
}

void check(const TrainRequest& request) {
  at_least("--pause-at", request.pause_at, 0);
  at_least("--early-stop", request.patience, 0);
  at_least("--checkpoint-every", request.checkpoint_every, 0);
  at_least("--log-every", request.log_every, 1);
}

int train(TrainRequest request, const Changes& changes) {
  check(request);
  if (!request.common.resume) return start(request, changes, changes.preset);
  if (request.common.out.empty()) throw UsageError("--resume needs --out, the folder of the run");
  lab::settle(request.common, request.common.out);
  return resume(request, changes);
}

int evaluate(const EvaluateRequest& request) {
  at_least("--batch", request.batch, 0);
  const Origin origin(request.checkpoint);
  const Model& model = model_for(request, origin);
  Data data = text_of(origin, request.data);
  if (!origin.text.empty() && origin.text != data.hash) {
    if (request.data.empty()) {
      throw moe::Error("cannot evaluate '", request.checkpoint, "' on ", data.name(),
                       ": it was trained on another text", origin.where(),
                       "; give the text to evaluate on with --data");
    }
    std::fprintf(stderr,
                 "note: the model was trained on another text%s: what follows is its loss on the "
                 "last tenth of the one given\n",
                 origin.where().c_str());
  }
  data.encode(model.config.context);
  return model.evaluate(request, data);
}

int sample(SampleRequest request, const std::optional<std::string>& prompt) {
  at_least("--tokens", request.tokens, 1);
  at_least("--temperature", request.temperature, 0.0);
  at_least("--top-k", request.top_k, 0);
  within_one("--top-p", request.top_p, true);
  within_one("--min-p", request.min_p, true);
  const Origin origin(request.checkpoint);
  request.prompt = prompt.value_or(origin.vocabulary.default_prompt());
  return model_for(request, origin).sample(request, origin.vocabulary);
}

/// --precision of a command that loads a checkpoint, which may have been trained in another one.
void add_precision_option(CLI::App& app, std::string& precision) {
  app.add_option("--precision", precision, lab::precision_help)
      ->check(CLI::IsMember(lab::precisions));
}

/// The options of `train` and of `demo`.
struct TrainCommand {
  CLI::App& app;
  TrainRequest request = {};
  Changes changes;
  std::string dataset = {};

  TrainCommand(CLI::App& command, const std::string& folder) : app(command), changes(command) {
    lab::add_data_option(app, request.common.data, "Tiny Shakespeare");
    app.add_option("--dataset", dataset, "tiny_shakespeare: the default of --data")
        ->check(CLI::IsMember({"tiny_shakespeare"}))
        ->excludes("--data");
    lab::add_run_options(app, request.common, folder);
    app.add_option("--save_dir", request.common.out, "The document's word for --out")
        ->excludes("--out");
    app.add_option("--checkpoint-every", request.checkpoint_every,
                   "Steps between saves of OUT/last; default: at every evaluation");
    app.add_option("--log-every", request.log_every,
                   "Steps between training rows of OUT/metrics.jsonl");
    app.add_option("--early-stop", request.patience,
                   "Stop after so many evaluations without gain; 0: never");
    app.add_option("--pause-at", request.pause_at, "Save and end after this step");
  }
};

struct EvaluateCommand {
  CLI::App& app;
  EvaluateRequest request = {};

  explicit EvaluateCommand(CLI::App& command) : app(command) {
    app.add_option("--checkpoint", request.checkpoint, "Folder")->required();
    lab::add_data_option(app, request.data, "Tiny Shakespeare, if the model was trained on it");
    app.add_option("--batch", request.batch, "Sequences at a time");
    add_precision_option(app, request.precision);
    lab::add_threads_option(app, request.threads);
  }
};

struct SampleCommand {
  CLI::App& app;
  SampleRequest request{.tokens = 400};
  std::optional<std::string> prompt = {};

  explicit SampleCommand(CLI::App& command) : app(command) {
    app.add_option("--checkpoint", request.checkpoint, "Folder")->required();
    app.add_option("--prompt", prompt, "Text to go on with");
    app.add_option("--tokens", request.tokens, "Characters to write");
    app.add_option("--temperature", request.temperature, "0: always the likeliest");
    app.add_option("--top-k", request.top_k, "Among the k likeliest; 0: all");
    app.add_option("--top-p", request.top_p, "Among the likeliest of this total");
    app.add_option("--min-p", request.min_p, "At least this share of the likeliest");
    app.add_option("--seed", request.seed, "Seed");
    add_precision_option(app, request.precision);
    lab::add_threads_option(app, request.threads);
  }
};

/// Trains the demo, in the precision that is faster here, and lets it write. Its default folder is
/// replaced; a folder that --out names is only replaced with --overwrite.
int demo(TrainRequest request, const Changes& changes) {
  check(request);
  lab::Common& common = request.common;
  common.replace_default = true;
  lab::settle(common, demo_folder);
  const int code = common.resume ? resume(request, changes)
                                 : start(request, changes, changes.preset.value_or("demo"), true);
  if (code != 0 || common.dry_run) return code;
  // A run that was paused before its first evaluation has no best model yet.
  const std::string best = common.out + "/best";
  std::printf("\n");
  return sample({.checkpoint = moe::detail::exists(best) ? best : common.out + "/last",
                 .precision = request.settings.precision,
                 .tokens = 400,
                 .threads = common.threads,
                 .temperature = 0.7},
                "ROMEO:");
}

}  // namespace

}  // namespace shakespeare

int main(int argc, char** argv) {
  using namespace shakespeare;
  CLI::App app("Small mixture-of-experts language models of one text, trained on the CPU.",
               "shakespeare");
  app.require_subcommand(1);
  const TrainCommand training(*app.add_subcommand("train", "Train a model"), "runs/PRESET");
  const TrainCommand demonstration(
      *app.add_subcommand(
          "demo",
          "Train the demo in the precision that is faster here, in place of the one "
          "before, and let it write"),
      demo_folder);
  const EvaluateCommand evaluation(
      *app.add_subcommand("eval", "Evaluate on the whole validation split"));
  const SampleCommand sampling(*app.add_subcommand("sample", "Write text"));
  return lab::run_program(argc, argv, app, [&] {
    if (training.app.parsed()) return train(training.request, training.changes);
    if (demonstration.app.parsed()) return demo(demonstration.request, demonstration.changes);
    if (evaluation.app.parsed()) return evaluate(evaluation.request);
    return sample(sampling.request, sampling.prompt);
  });
}
