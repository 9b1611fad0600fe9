// Trains, evaluates and samples small language models of Shakespeare's plays, or of another text,
// character by character or byte by byte.  shakespeare train|eval|sample --help tells the options.
#include <moe/train/run_folder.hpp>
#include <moe_lab/output.hpp>
#include <moe_lab/signals.hpp>
#include <moe_lab/strict_options.hpp>
#include <new>
#include <optional>

#include "options.hpp"

namespace shakespeare {
namespace {

/// The settings of a checkpoint; those that it does not have yet are the preset's.
Settings settings_of(const std::string& checkpoint, const Preset& preset) {
  const moe::Json manifest = moe::read_manifest(checkpoint);
  moe::Json all = moe::to_json(preset.defaults);
  for (const auto& [name, value] : manifest.at("run").at("settings").members("settings"))
    all[name] = value;
  Settings settings;
  moe::from_json(settings, all, "settings");
  return settings;
}

/// The text of a run that goes on, or of a model that is evaluated.
Data text_of(const Origin& origin, const std::string& path) {
  Data data(path);
  data.vocabulary = origin.vocabulary;
  return data;
}

int resume(TrainRequest request, const Changes& changes) {
  const std::string last = moe::require_checkpoints(request.out).front();
  const Origin origin(last);
  const Preset preset = preset_named(origin.preset);
  if (changes.preset && *changes.preset != origin.preset) {
    throw UsageError("moe: cannot resume '" + request.out + "' with preset " + *changes.preset +
                     ": it was trained with " + origin.preset + "; leave --preset out");
  }
  if (changes.sizes.given()) {
    Changes same = changes;
    same.preset = origin.preset;
    same.chosen();
  }
  const Settings saved = settings_of(last, preset);
  request.settings = saved;
  changes.apply(request.settings);
  for (const auto& d : moe::differences(moe::to_json(saved), moe::to_json(request.settings)))
    std::fprintf(stderr, "note: %s is now %s, it was %s: the run changes from here on\n",
                 d.field.c_str(), d.second.c_str(), d.first.c_str());
  const Model model = preset.model(origin.vocabulary);
  if (request.dry_run) return model.plan(request);
  Data data = text_of(origin, request.data);
  if (!origin.text.empty() && origin.text != data.hash) {
    throw moe::Error("cannot resume '" + request.out + "' with " + data.name() +
                     ": it was trained on another one" + origin.where() + "; give the same --data");
  }
  data.encode(model.config.context);
  return model.train(request, data);
}

int start(TrainRequest request, const Changes& changes) {
  const Preset preset = changes.chosen();
  request.settings = preset.defaults;
  changes.apply(request.settings);
  const Settings& s = request.settings;
  if (request.out.empty()) request.out = "runs/" + s.preset;
  if (s.warmup > s.steps) {
    std::fprintf(stderr,
                 "note: the warm-up of %d updates is longer than the run of %d: the peak rate is "
                 "never reached; --warmup shortens it\n",
                 s.warmup, s.steps);
  }
  const moe::ModelConfig config = preset.characters().config;
  if (request.dry_run && request.data.empty()) return preset.characters().plan(request);
  Data data(request.data);
  data.choose_vocabulary(config.vocab);
  if (data.vocabulary.is_bytes()) {
    const int found = moe::CharVocabulary(data.corpus.text).size();
    if (!preset.bytes) {
      throw moe::Error("cannot train on " + data.name() + " with preset " + s.preset + ": it has " +
                       std::to_string(found) + " distinct characters and the preset " +
                       std::to_string(config.vocab) +
                       "; choose the preset demo, quick, document or full, which then reads bytes");
    }
    std::fprintf(stderr,
                 "note: the text has %d distinct characters, more than the %d of the preset: its "
                 "tokens are bytes\n",
                 found, config.vocab);
  }
  const Model model = preset.model(data.vocabulary);
  if (request.dry_run) return model.plan(request);
  data.encode(config.context);
  return model.train(request, data);
}

int train(const TrainRequest& request, const Changes& changes) {
  at_least("--threads", request.threads, 0);
  at_least("--pause-at", request.pause_at, 0);
  at_least("--early-stop", request.patience, 0);
  at_least("--checkpoint-every", request.checkpoint_every, 0);
  at_least("--log-every", request.log_every, 1);
  if (request.resume && request.overwrite)
    throw UsageError("moe: --resume goes on with a run and --overwrite deletes it: choose one");
  if (request.resume && request.out.empty())
    throw UsageError("moe: --resume needs --out, the folder of the run");
  return request.resume ? resume(request, changes) : start(request, changes);
}

int evaluate(const EvaluateRequest& request) {
  at_least("--batch", request.batch, 0);
  at_least("--threads", request.threads, 0);
  const Origin origin(request.checkpoint);
  const Model model = preset_named(origin.preset).model(origin.vocabulary);
  Data data = text_of(origin, request.data);
  if (!origin.text.empty() && origin.text != data.hash) {
    if (request.data.empty()) {
      throw moe::Error("cannot evaluate '" + request.checkpoint + "' on " + data.name() +
                       ": it was trained on another text" + origin.where() +
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
  at_least("--threads", request.threads, 0);
  within_one("--top-p", request.top_p, true);
  within_one("--min-p", request.min_p, true);
  const Origin origin(request.checkpoint);
  request.prompt = prompt.value_or(origin.vocabulary.default_prompt());
  return preset_named(origin.preset).model(origin.vocabulary).sample(request, origin.vocabulary);
}

int run(int argc, char** argv) {
  CLI::App app("Small mixture-of-experts language models of one text, trained on the CPU.",
               "shakespeare");
  app.require_subcommand(1);

  TrainRequest train_request;
  Changes changes;
  CLI::App* train_app = app.add_subcommand("train", "Train a model");
  changes.add_to(*train_app);
  train_app->add_option("--data", train_request.data,
                        "Text: a file, a pipe, or - for standard input; default: Tiny Shakespeare");
  std::string dataset;
  train_app->add_option("--dataset", dataset, "tiny_shakespeare: the default of --data")
      ->check(CLI::IsMember({"tiny_shakespeare"}))
      ->excludes("--data");
  train_app->add_option("--out,--save_dir", train_request.out,
                        "Folder of the run; default: runs/PRESET");
  train_app->add_option("--checkpoint-every", train_request.checkpoint_every,
                        "Steps between saves of OUT/last; default: at every evaluation");
  train_app->add_option("--log-every", train_request.log_every,
                        "Steps between training rows of OUT/metrics.jsonl");
  train_app->add_option("--early-stop", train_request.patience,
                        "Stop after so many evaluations without gain; 0: never");
  train_app->add_option("--pause-at", train_request.pause_at, "Save and end after this step");
  train_app->add_option("--threads", train_request.threads, "Threads; 0: all cores");
  train_app->add_flag("--resume", train_request.resume, "Go on with the run in --out");
  train_app->add_flag("--overwrite", train_request.overwrite, "Replace the run in --out");
  train_app->add_flag("--dry-run", train_request.dry_run, "Only print the plan");
  bool no_progress = false;
  train_app->add_flag("--no-progress", no_progress, "No progress bar or lines");

  EvaluateRequest evaluate_request;
  CLI::App* evaluate_app = app.add_subcommand("eval", "Evaluate on the whole validation split");
  evaluate_app->add_option("--checkpoint", evaluate_request.checkpoint, "Folder")->required();
  evaluate_app->add_option("--data", evaluate_request.data,
                           "Text: a file, a pipe, or - for standard input; default: Tiny "
                           "Shakespeare, if the model was trained on it");
  evaluate_app->add_option("--batch", evaluate_request.batch, "Sequences at a time");
  evaluate_app->add_option("--threads", evaluate_request.threads, "Threads; 0: all cores");

  SampleRequest sample_request{.tokens = 400};
  std::optional<std::string> prompt;
  CLI::App* sample_app = app.add_subcommand("sample", "Write text");
  sample_app->add_option("--checkpoint", sample_request.checkpoint, "Folder")->required();
  sample_app->add_option("--prompt", prompt, "Text to go on with");
  sample_app->add_option("--tokens", sample_request.tokens, "Characters to write");
  sample_app->add_option("--temperature", sample_request.temperature, "0: always the likeliest");
  sample_app->add_option("--top-k", sample_request.top_k, "Among the k likeliest; 0: all");
  sample_app->add_option("--top-p", sample_request.top_p, "Among the likeliest of this total");
  sample_app->add_option("--min-p", sample_request.min_p, "At least this share of the likeliest");
  sample_app->add_option("--seed", sample_request.seed, "Seed");
  sample_app->add_option("--threads", sample_request.threads, "Threads; 0: all cores");

  read_strictly(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    throw UsageError("moe: " + std::string(error.what()) + "; see shakespeare --help");
  }
  if (train_app->parsed()) {
    train_request.progress = !no_progress;
    return train(train_request, changes);
  }
  if (evaluate_app->parsed()) return evaluate(evaluate_request);
  return sample(sample_request, prompt);
}

}  // namespace

}  // namespace shakespeare

int main(int argc, char** argv) {
  const auto fail = [](const char* text, int code) {
    std::fprintf(stderr, "%s\n", text);
    return code;
  };
  signals::install();
  try {
    return lab::finish_output(shakespeare::run(argc, argv));
  } catch (const shakespeare::UsageError& error) {
    return fail(error.what(), 2);
  } catch (const moe::Error& error) {
    return fail(error.what(), 1);
  } catch (const std::bad_alloc&) {
    return fail("moe: the memory is not enough: use a smaller batch or preset", 1);
  }
}
