#pragma once
#include <cmath>
#include <filesystem>
#include <moe/io/json_reader.hpp>
#include <moe_lab/cli.hpp>
#include <moe_lab/format.hpp>
#include <moe_lab/models.hpp>
#include <moe_lab/plots.hpp>
#include <moe_lab/results.hpp>
#include <moe_lab/statistics.hpp>

// A study: several runs that are compared. Each has its folder OUT/runs/NAME; OUT/results.json
// lists all of them. After --resume the results of finished runs are read, and the run in progress
// goes on.

namespace lab {

/// One run of a study.
struct Run {
  std::string name, group;
  Model model;
  Settings settings;

  double lr() const { return settings.optimizer == "adamw" ? settings.adamw_lr : settings.muon_lr; }
};

/// Whether `folder` is the run `name` of a study: a folder, not a link, whose settings.json has
/// that name.
inline bool is_run_of_study(const std::string& folder, const std::string& name) {
  const std::string file = folder + "/settings.json";
  return std::filesystem::is_directory(std::filesystem::symlink_status(folder)) &&
         moe::detail::has_members({"name", "settings"})(file) &&
         *moe::parse_json(moe::read_file(file), file).find("name") == moe::Json(name);
}

/// Prepares --out for a run or a study, and holds it until the lock ends. --overwrite removes only
/// files that these programs wrote, which it knows by their content. Plots stay and are drawn over.
/// Errors: the folder holds an experiment, and neither --resume nor --overwrite is given; the
/// experiment to resume is a run and not a study, or the other way round; a file of somebody else
/// has the name of one of ours.
[[nodiscard]] inline moe::FolderLock open_folder(const Common& c, bool study) {
  signals::finish_first();  // a signal must not leave an old experiment half removed
  moe::make_folders(c.out);
  moe::FolderLock lock(c.out, "study");
  const auto path = [&](const std::string& name) { return c.out + "/" + name; };
  const auto has = [&](const char* name) { return moe::detail::exists(path(name)); };
  const bool run_there = has("settings.json") || moe::holds_run(c.out);
  const bool study_there = has("study.json") || has("runs");
  if (c.overwrite) {
    moe::Removal removal;
    add_run(removal, c.out);
    removal.add_file(path("study.json"), moe::detail::has_members({"tokens"}));
    if (std::filesystem::is_symlink(path("runs")))
      throw moe::Error("cannot replace the runs in '", path("runs"),
                       "': it is a link to another place; remove the link or give another --out");
    if (has("runs")) {
      for (const std::string& name : moe::detail::names_in(path("runs"))) {
        const std::string run = path("runs/" + name);
        if (!is_run_of_study(run, name)) continue;
        add_run(removal, run);
        removal.add_if_empty(run);
      }
      removal.add_if_empty(path("runs"));
    }
    removal.go();
  } else if (c.resume ? (study ? run_there : study_there)
                      : (run_there || study_there || has("results.json"))) {
    throw moe::Error("cannot start in '", c.out,
                     "': it already holds an experiment; give --resume for the same one, "
                     "--overwrite or another --out");
  }
  if (c.resume && !run_there && !study_there)
    std::fprintf(stderr, "note: nothing to resume in '%s': the experiment begins anew\n",
                 c.out.c_str());
  return lock;
}

/// "validation 1.7391 nats, accuracy 0.4700"; or that it was not evaluated, diverged, or not
/// trained.
inline std::string describe(const Outcome& out) {
  std::string text = "validation ";
  if (std::isnan(out.loss))
    text += "not evaluated";
  else if (std::isinf(out.loss))
    text += "diverged";
  else
    text += format("%.4f nats", out.loss);
  if (std::isfinite(out.accuracy)) text += format(", accuracy %.4f", out.accuracy);
  if (2 * out.skipped > out.updates && !out.diverged)
    text += format(", NOT TRAINED: %lld of %lld updates were skipped", (long long)out.skipped,
                   (long long)out.updates);
  return text;
}

/// Draws the plots of --out unless --no-plots is given. Returns 1 if --plots is given and they
/// could not be drawn, otherwise 0.
inline int plots_at_the_end(const Common& common) {
  if (common.no_plots || draw_plots(common.out) || !common.plots) return 0;
  std::fprintf(stderr, "moe: --plots was given and the plots of '%s' could not be drawn\n",
               common.out.c_str());
  return 1;
}

class Study {
 public:
  /// `about` describes the study; it must be the same when the study is resumed.
  Study(const Common& common, const Data& data, const char* kind, moe::Json about)
      : common_(common), data_(data), lock_(open_folder(common, true)) {
    about["tokens"] = data.hash();
    const std::string file = common.out + "/study.json", now = about.dump(2) + "\n";
    if (common.resume && moe::detail::exists(file) && !holds_settings(file, now))
      throw moe::Error("cannot resume '", common.out,
                       "': it was started with other options or another text, see study.json; "
                       "give the same command, or another --out");
    const std::string results = common.out + "/results.json";
    if (common.resume && !moe::detail::exists(file) && moe::detail::exists(results))
      throw moe::Error("cannot resume '", common.out,
                       "': it holds results and no study.json that says of what; put that back, or "
                       "give another --out");
    moe::detail::require_ours(file, moe::detail::has_members({"tokens"}));
    moe::detail::require_ours(results, is_results);
    moe::write_file(file, now);
    json_["study"] = kind;
    json_["program"] = common.program;
    json_["command"] = common.command;
    json_["data"] = data.describe();
    json_["settings"] = std::move(about);
    json_["runs"] = moe::Json::array();
  }

  moe::Json& json() { return json_; }
  void set_seeds(std::uint64_t first, int count) {
    moe::Json& seeds = json_["seeds"] = moe::Json::array();
    for (int i = 0; i < count; ++i) seeds.push_back(first + std::uint64_t(i));
  }
  std::string folder(const std::string& name) const { return common_.out + "/runs/" + name; }

  /// Trains, or reads the result if the run is already done; then writes results.json anew.
  /// Errors: Stopped after a signal.
  Outcome run(const Run& run) {
    if (signals::interrupted()) throw Stopped{};
    const Settings& s = run.settings;
    std::printf("\n== %s: %s, %s, lr %g, seed %llu, %d updates of %d x %d x %d tokens\n",
                run.name.c_str(), run.model.name, s.optimizer.c_str(), run.lr(),
                (unsigned long long)s.seed, s.steps, s.accumulation, s.batch, s.length);
    std::fflush(stdout);
    const Outcome out = run.model.train({.settings = s,
                                         .data = data_,
                                         .folder = folder(run.name),
                                         .name = run.name,
                                         .program = common_.program,
                                         .command = common_.command,
                                         .threads = common_.threads,
                                         .resume = common_.resume,
                                         .progress = common_.progress});
    if (out.failed()) failed_ += (failed_.empty() ? "" : ", ") + run.name;
    std::printf("%s: %s, %lld updates, %.2f M tokens, %.0f s\n", run.name.c_str(),
                describe(out).c_str(), (long long)out.updates, double(out.tokens) * 1e-6,
                out.seconds);
    moe::Json one;
    one["name"] = run.name;
    one["folder"] = "runs/" + run.name;
    one["group"] = run.group;
    one["model"] = run.model.name;
    one["params_total"] = run.model.parameters.total;
    one["params_active"] = run.model.parameters.active;
    one["optimizer"] = s.optimizer;
    one["lr"] = run.lr();
    one["seed"] = s.seed;
    one["updates"] = out.updates;
    one["tokens"] = out.tokens;
    one["flops"] = out.flops;
    one["final_val_loss"] = out.loss;
    one["final_val_acc"] = out.accuracy;
    one["best_val_loss"] = out.best;
    one["avg_tokens_per_sec"] = out.tokens_per_second();
    one["total_time"] = out.seconds;
    one["memory_mb"] = out.memory_mb;
    one["skipped_updates"] = out.skipped;
    one["diverged"] = out.diverged;
    json_["runs"].push_back(std::move(one));
    save();
    return out;
  }

  void save() const { moe::write_file(common_.out + "/results.json", json_.dump(2) + "\n"); }

  /// Saves results.json, draws the plots, prints the command that repeats the study, and returns
  /// the exit code: 1 if a run has failed or plots that were asked for could not be drawn.
  int end() {
    save();
    std::printf("\nresults in %s; the same again: %s\n", common_.out.c_str(),
                again(common_).c_str());
    const int plots = plots_at_the_end(common_);
    if (failed_.empty()) return plots;
    std::fprintf(stderr,
                 "moe: the study is not whole: of these runs most updates were skipped, or they "
                 "diverged: %s; take lower learning rates\n",
                 failed_.c_str());
    return 1;
  }

 private:
  const Common& common_;
  const Data& data_;
  moe::FolderLock lock_;
  moe::Json json_;
  std::string failed_;  // names of the failed runs
};

}  // namespace lab
