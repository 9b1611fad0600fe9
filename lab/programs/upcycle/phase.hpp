#pragma once
#include <cstdio>
#include <moe/moe.hpp>
#include <moe_lab/data.hpp>
#include <moe_lab/options.hpp>
#include <moe_lab/precision.hpp>
#include <moe_lab/watch.hpp>

#include "program.hpp"

// One training run of the experiment, in a folder of its own, so that it can be stopped and resumed
// anywhere.

namespace growth {

using lab::Data;
using lab::Stopped;

inline constexpr const char* phases[] = {"dense", "moe", "dense_control", "moe_from_scratch"};

/// The folder of one seed.
struct Folder {
  const Request& request;
  std::uint64_t seed;

  std::string path(const std::string& name) const {
    return request.common.out + "/seed" + std::to_string(seed) + "/" + name;
  }

  /// Prepares the folder for this experiment, saves its settings, by which --resume recognises it,
  /// and holds the folder until the lock ends.
  /// Errors: the folder holds another experiment, or one that is neither to be resumed nor
  /// replaced.
  [[nodiscard]] moe::FolderLock open(const Data& data) const {
    moe::make_folders(request.common.out);
    moe::FolderLock lock(request.common.out, "study");
    const std::string file = request.common.out + "/settings.json";
    moe::Json json = moe::to_json(request.settings);
    json["tokens"] =
        moe::hex(moe::xxh64(data.tokens.data(), data.tokens.size() * sizeof(data.tokens[0])));
    const std::string now = json.dump(2) + "\n";
    const bool there = moe::detail::exists(file);
    if (there && request.common.resume && !lab::holds_settings(file, now))
      throw moe::Error("cannot resume '", request.common.out,
                       "': it was started with other settings or another text, see settings.json; "
                       "give the same command, or another --out");
    if (request.common.overwrite) {
      moe::Removal old;
      add_results(old);
      old.go();
    } else if (there ? !request.common.resume : holds_phases()) {
      throw moe::Error(
          "cannot start in '", request.common.out, "': it already holds an experiment",
          (request.common.resume ? ", but no settings.json that says which; put that back"
                                 : "; give --resume"),
          ", --overwrite or another --out");
    }
    if (request.common.resume && !there)
      std::fprintf(stderr, "note: nothing to resume in '%s': the experiment begins anew\n",
                   request.common.out.c_str());
    moe::detail::require_ours(file, is_settings());
    moe::detail::require_ours(request.common.out + "/results.json", is_results());
    moe::detail::require_ours(request.common.out + "/training_history.jsonl", is_history());
    moe::write_file(file, now);
    return lock;
  }

  /// The folders of the seeds that are asked for, and of all others that an older experiment left.
  std::vector<Folder> all_seeds() const {
    std::vector<Folder> all;
    all.reserve(std::size_t(request.seeds));
    for (int i = 0; i < request.seeds; ++i) all.push_back({request, seed + std::uint64_t(i)});
    for (const std::string& name : moe::detail::names_in(request.common.out)) {
      const auto number = name.starts_with("seed")
                              ? moe::whole_number<std::uint64_t>(std::string_view(name).substr(4))
                              : std::nullopt;
      if (number && !(*number >= seed && *number - seed < std::uint64_t(request.seeds)))
        all.push_back({request, *number});
    }
    return all;
  }

  /// Adds the files of an older experiment to the removal, also of seeds that are not asked for
  /// now: its rows must not get into this history, nor its checkpoints into a phase that is resumed
  /// before it has begun. Files of others in these places are refused.
  void add_results(moe::Removal& removal) const {
    removal.add_file(request.common.out + "/settings.json", is_settings());
    removal.add_file(request.common.out + "/results.json", is_results());
    removal.add_file(request.common.out + "/training_history.jsonl", is_history());
    for (const Folder& one : all_seeds()) {
      for (const char* phase : phases) {
        removal.lock(one.path(phase));
        removal.add_run(one.path(phase));
      }
      for (const char* model : {"dense_model", "moe_model_init", "moe_model_final"})
        removal.add_saved(one.path(model), moe::detail::manifest_file);
    }
  }

  static moe::detail::LooksOurs is_settings() {
    return moe::detail::has_members({"recipe", "tokens"});
  }
  static moe::detail::LooksOurs is_results() {
    return moe::detail::has_members({"settings", "seeds"});
  }
  static moe::detail::LooksOurs is_history() {
    return moe::detail::has_rows_with({"seed", "phase"});
  }

  /// Whether parts of an experiment are there. Called when its settings are not.
  bool holds_phases() const {
    if (moe::detail::exists(request.common.out + "/results.json")) return true;
    for (const Folder& one : all_seeds()) {
      for (const char* phase : phases)
        if (moe::holds_run(one.path(phase))) return true;
      for (const char* model : {"dense_model", "moe_model_init", "moe_model_final"})
        if (moe::detail::exists(one.path(model))) return true;
    }
    return false;
  }

  /// training_history.jsonl: the rows of all phases so far, each with its seed and phase.
  void write_history() const {
    std::string all;
    for (std::uint64_t s = request.settings.seed; s <= seed; ++s) {
      for (const char* phase : phases) {
        const std::string file = Folder{request, s}.path(phase) + "/metrics.jsonl";
        if (!moe::detail::exists(file)) continue;
        const std::string text = moe::read_file(file);
        for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
             begin = end + 1)
          if (text[begin] == '{')
            all += "{\"seed\":" + std::to_string(s) + ",\"phase\":\"" + phase + "\"," +
                   text.substr(begin + 1, end - begin);
      }
    }
    moe::write_file(request.common.out + "/training_history.jsonl", all);
  }
};

/// The result of a phase. Losses are validation losses in nats, except train_loss; NaN if unknown.
struct Run {
  double loss = moe::unknown, best = moe::unknown, train_loss = moe::unknown,
         first_loss = moe::unknown;
  double seconds = 0, flops = 0;
  std::int64_t steps = 0, tokens = 0, skipped = 0;
  bool stopped = false;
};

template <class Model, class Optimizer>
Run train_phase(Model& model, Optimizer& optimizer, const Request& request, const Data& data,
                const std::string& name, std::uint64_t batches, int steps, const Folder& folder) {
  const Settings& s = request.settings;
  const double flops = moe::token_flops(Model::config).training();
  lab::Watch watch({.steps = steps, .flops_per_token = flops, .enabled = request.common.progress});
  const bool saved = moe::has_checkpoint(folder.path(name));
  moe::TrainerOptions options = lab::trainer_options(s, folder.path(name));
  options.steps = steps;
  options.seed = batches;
  options.log_every = request.log_every;
  options.overwrite = request.common.overwrite || request.common.resume;
  moe::Trainer trainer(model, optimizer, data.train, data.validation, options, watch.callbacks());
  Run run;
  const auto before =
      moe::evaluate(model, moe::DisjointWindows(data.validation, s.batch, Model::config.context),
                    lab::signals::interrupted);
  if (!before) throw Stopped{};
  run.first_loss = before->cross_entropy;
  if (request.common.resume && saved) trainer.resume();
  run.stopped = trainer.run() == moe::StopReason::stopped;
  const moe::TrainState& c = trainer.state();
  run.loss = c.last_loss, run.best = c.best_loss, run.train_loss = c.last_train_loss;
  run.seconds = c.seconds, run.steps = c.step, run.tokens = c.tokens;
  run.skipped = optimizer.skipped();
  run.flops = flops * double(c.tokens);
  if (const auto why = moe::failure(c))
    throw moe::Error(why->sentence(), " (phase '", name,
                     "'; --lr1 is of phase 1, --lr2 of phase 2)");
  return run;
}

}  // namespace growth
