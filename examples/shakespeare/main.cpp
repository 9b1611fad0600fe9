// Trains, evaluates and samples small language models of Shakespeare's plays, character by
// character.  shakespeare train|eval|sample --help tells the options.
#include <CLI/CLI.hpp>
#include <csignal>
#include <moe/train/manifest.hpp>
#include <new>
#include <optional>

#include "../lab/output.hpp"
#include "program.hpp"

namespace shakespeare {
namespace {

volatile std::sig_atomic_t signals = 0;

void on_signal(int number) {
  signals = signals + 1;
  if (signals > 1) std::signal(number, SIG_DFL);  // whoever asks a third time does not wait
}

/// A wrong command line: exit code 2, where moe::Error gives 1.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

Preset preset_named(const std::string& name) {
  for (const Preset& preset : {demo_preset(), full_preset(), nanogpt_preset()})
    if (preset.defaults.preset == name) return preset;
  throw UsageError("moe: there is no preset '" + name + "': choose demo, full or nanogpt");
}

/// The preset that a checkpoint was trained with.
Preset preset_of(const std::string& checkpoint) {
  const moe::Json manifest = moe::read_manifest(checkpoint);
  const moe::Json* run = manifest.find("run");
  const moe::Json* settings = run ? run->find("settings") : nullptr;
  if (!settings) {
    throw moe::Error("moe: cannot use checkpoint '" + checkpoint +
                     "': it was not written by this program; give the folder of one of its runs");
  }
  return preset_named(settings->at("preset", "settings").as_string("settings.preset"));
}

template <class T>
void at_least(const char* option, T value, T least) {
  if (value >= least) return;
  const auto text = [](T x) {
    std::string s = std::to_string(x);
    if (s.find('.') != std::string::npos)
      s.erase(std::max(s.find_last_not_of('0'), s.find('.') + 1) + 1);
    return s;
  };
  throw UsageError(std::string("moe: cannot use ") + option + " " + text(value) + ": it must be " +
                   text(least) + " or more; correct the command");
}
void within_one(const char* option, double value, bool one_allowed) {
  if (value >= 0 && (value < 1 || (one_allowed && value == 1))) return;
  throw UsageError(std::string("moe: cannot use ") + option + " " + std::to_string(value) +
                   ": it must be from 0 to " + (one_allowed ? "1" : "below 1") +
                   "; correct the command");
}

/// The options of `train` that replace a preset's or a checkpoint's value when they are given.
struct Changes {
  std::optional<std::string> preset, optimizer;
  std::optional<int> steps, batch, eval_every;
  std::optional<double> lr, dropout;
  std::optional<std::uint64_t> seed;

  void apply(Settings& s) const {
    const auto set = [](auto& to, const auto& from) {
      if (from) to = *from;
    };
    set(s.steps, steps);
    set(s.batch, batch);
    set(s.optimizer, optimizer);
    set(s.optimizer == "muon" ? s.muon_lr : s.adamw_lr, lr);
    set(s.dropout, dropout);
    set(s.seed, seed);
    set(s.eval_every, eval_every);
    check(s);
  }

 private:
  static void check(const Settings& s) {
    at_least("--steps", s.steps, 1);
    at_least("--batch", s.batch, 1);
    at_least("--eval-every", s.eval_every, 1);
    at_least("--lr", std::min(s.muon_lr, s.adamw_lr), 0.0);
    within_one("--dropout", s.dropout, false);
    if (s.batch > (1 << 20)) {
      throw UsageError("moe: cannot use --batch " + std::to_string(s.batch) +
                       ": it must be 1048576 or less; correct the command");
    }
    if (s.optimizer != "muon" && s.optimizer != "adamw") {
      throw UsageError("moe: there is no optimizer '" + s.optimizer + "': choose muon or adamw");
    }
  }
};

int train(TrainRequest request, const Changes& changes) {
  at_least("--threads", request.threads, 0);
  at_least("--pause-at", request.pause_at, 0);
  at_least("--early-stop", request.patience, 0);
  at_least("--checkpoint-every", request.checkpoint_every, 0);
  at_least("--log-every", request.log_every, 1);
  if (request.resume && request.overwrite)
    throw UsageError("moe: --resume goes on with a run and --overwrite deletes it: choose one");
  Preset preset;
  if (request.resume) {
    const std::string last = request.out + "/last";
    preset = preset_of(last);
    const moe::Json manifest = moe::read_manifest(last);
    moe::from_json(request.settings, manifest.at("run").at("settings"), "settings");
    if (changes.preset && *changes.preset != preset.defaults.preset) {
      throw UsageError("moe: cannot resume '" + request.out + "' with preset " + *changes.preset +
                       ": it was trained with " + preset.defaults.preset + "; leave --preset out");
    }
    const Settings saved = request.settings;
    changes.apply(request.settings);
    for (const auto& d : moe::differences(moe::to_json(saved), moe::to_json(request.settings)))
      std::fprintf(stderr, "note: %s is now %s, it was %s: the run changes from here on\n",
                   d.field.c_str(), d.second.c_str(), d.first.c_str());
  } else {
    preset = preset_named(changes.preset.value_or("demo"));
    request.settings = preset.defaults;
    changes.apply(request.settings);
  }
  if (request.out.empty()) request.out = "runs/" + request.settings.preset;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of write, not the end
#endif
  return preset.train(request);
}

int sample(const SampleRequest& request) {
  at_least("--tokens", request.tokens, 1);
  at_least("--temperature", request.temperature, 0.0);
  at_least("--top-k", request.top_k, 0);
  at_least("--threads", request.threads, 0);
  within_one("--top-p", request.top_p, true);
  within_one("--min-p", request.min_p, true);
  return preset_of(request.checkpoint).sample(request);
}

int run(int argc, char** argv) {
  CLI::App app("Small mixture-of-experts language models of Shakespeare, trained on the CPU.",
               "shakespeare");
  app.require_subcommand(1);

  TrainRequest train_request;
  Changes changes;
  CLI::App* train_app = app.add_subcommand("train", "Train a model");
  train_app->add_option("--preset", changes.preset, "demo (default), full or nanogpt");
  train_app->add_option("--data", train_request.data, "Text file; default: Tiny Shakespeare");
  train_app->add_option("--out", train_request.out, "Folder of the run; default: runs/PRESET");
  train_app->add_option("--steps", changes.steps, "Updates");
  train_app->add_option("--batch", changes.batch, "Sequences of one update");
  train_app->add_option("--lr", changes.lr, "Peak learning rate of the optimizer");
  train_app->add_option("--optimizer", changes.optimizer, "muon or adamw");
  train_app->add_option("--dropout", changes.dropout, "Dropout rate, 0 to below 1");
  train_app->add_option("--seed", changes.seed, "Seed of initial values, batches and dropout");
  train_app->add_option("--eval-every", changes.eval_every, "Steps between evaluations");
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
  evaluate_app->add_option("--data", evaluate_request.data, "Text file; default: Tiny Shakespeare");
  evaluate_app->add_option("--batch", evaluate_request.batch, "Sequences at a time");
  evaluate_app->add_option("--threads", evaluate_request.threads, "Threads; 0: all cores");

  SampleRequest sample_request{.prompt = "\n", .tokens = 400};
  CLI::App* sample_app = app.add_subcommand("sample", "Write text");
  sample_app->add_option("--checkpoint", sample_request.checkpoint, "Folder")->required();
  sample_app->add_option("--prompt", sample_request.prompt, "Text to go on with");
  sample_app->add_option("--tokens", sample_request.tokens, "Characters to write");
  sample_app->add_option("--temperature", sample_request.temperature, "0: always the likeliest");
  sample_app->add_option("--top-k", sample_request.top_k, "Among the k likeliest; 0: all");
  sample_app->add_option("--top-p", sample_request.top_p, "Among the likeliest of this total");
  sample_app->add_option("--min-p", sample_request.min_p, "At least this share of the likeliest");
  sample_app->add_option("--seed", sample_request.seed, "Seed");
  sample_app->add_option("--threads", sample_request.threads, "Threads; 0: all cores");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    throw UsageError("moe: " + std::string(error.what()) + "; see shakespeare --help");
  }
  if (train_app->parsed()) {
    train_request.progress = !no_progress;
    if (train_request.resume && train_request.out.empty())
      throw UsageError("moe: --resume needs --out, the folder of the run");
    return train(train_request, changes);
  }
  if (evaluate_app->parsed()) {
    at_least("--batch", evaluate_request.batch, 0);
    at_least("--threads", evaluate_request.threads, 0);
    return preset_of(evaluate_request.checkpoint).evaluate(evaluate_request);
  }
  return sample(sample_request);
}

}  // namespace

bool interrupted() {
  return signals > 0;
}

}  // namespace shakespeare

int main(int argc, char** argv) {
  const auto fail = [](const char* text, int code) {
    std::fprintf(stderr, "%s\n", text);
    return code;
  };
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
