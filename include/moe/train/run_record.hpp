#pragma once
#include <exception>
#include <functional>
#include <moe/train/metrics_writer.hpp>
#include <moe/train/records.hpp>
#include <moe/train/run_folder.hpp>
#include <moe/train/trainer_options.hpp>
#include <optional>

namespace moe::inline MOE_ISA {

/// Writes the folder of a run, options.out: rows for people and plots, events for TensorBoard, and
/// checkpoints. The run holds the lock of the folder from its first access until this object is
/// destroyed. If out is "", nothing is written. A failure that the run can survive becomes a
/// warning.
/// Test: tests/train/run_folder.cpp.
class RunRecord {
 public:
  /// `options` must outlive the record.
  RunRecord(const TrainerOptions& options, std::function<void(const std::string&)> on_warning)
      : options_(options), on_warning_(std::move(on_warning)) {}

  /// Calls load(folder) for the newest checkpoint, or for the next one if that is damaged. Returns
  /// the folder that was loaded; the run then counts as resumed.
  template <class Load>
  std::string load_newest(const Load& load) {
    claim();
    const std::vector<std::string> saved = require_checkpoints(options_.out);
    for (std::size_t i = 0;; ++i) {
      try {
        load(saved[i]);
        for (std::size_t j = i + 1; j < saved.size(); ++j)  // warns if one cannot be read
          unless_needed(false, [&] { static_cast<void>(read_manifest(saved[j])); });
        resumed_ = true, opened_ = false;  // open() removes the rows that come after it
        metrics_.reset(), board_.reset();
        return saved[i];
      } catch (const Error& error) {
        if (i + 1 < saved.size()) {
          warn(std::string(error.what()) + "; trying '" + saved[i + 1] + "'");
          continue;
        }
        // If the files are intact, the error has another cause, which would affect `best` too.
        if (detail::is_intact(saved[i]) || !detail::is_intact(path("best"))) throw;
        throw Error(error.sentence(), "; or put a copy of '", path("best"),
                    "' into its place to go on from the best evaluation");
      }
    }
  }

  /// Called before the first step: checks everything that could prevent a save. A resumed run keeps
  /// the existing rows up to `step`; otherwise all are removed.
  void open(std::int64_t step) {
    if (options_.out.empty() || opened_) return;
    require_free();  // a refusal changes nothing, not even a lock file
    claim();
    require_free();
    if (!resumed_ && holds_run(options_.out)) {
      Removal removal;
      removal.add_run(options_.out);
      removal.go();
    }
    for (const char* name : {"last", "best"})
      unless_needed(!resumed_, [&] { FolderTransaction(path(name), detail::manifest_file); });
    const std::int64_t keep_to = resumed_ ? step : -1;
    if (keep_to > 0 && !detail::exists(path("metrics.jsonl")))
      warn("'" + path("metrics.jsonl") + "' is gone: its rows begin after step " +
           std::to_string(step));
    unless_needed(!resumed_, [&] {
      metrics_.emplace(path("metrics.jsonl"), keep_to);
      if (metrics_->set_aside() > 0)
        warn(std::to_string(metrics_->set_aside()) + " rows of '" + path("metrics.jsonl") +
             "' could not be read and were moved to '" + metrics_->set_aside_path() + "'");
    });
    if (options_.tensorboard)
      unless_needed(!resumed_, [&] { board_.emplace(options_.out, keep_to); });
    opened_ = true;
  }

  /// Writes a row. After a failure nothing more is written to that file.
  template <class Row>
  void add(const Row& row) {
    if (metrics_ && !unless_needed(false, [&] { metrics_->write(metrics_row(row)); }))
      metrics_.reset();
    if (board_ && !unless_needed(false, [&] { write(*board_, row); })) board_.reset();
  }

  /// Calls save_to(folder) for the checkpoint NAME. If that fails, the run goes on, and the
  /// checkpoint is saved as NAME-rescue, where load_newest() finds it. `needed`: nothing will be
  /// saved later, so if both fail it is an error. Returns true if it was saved, or if nothing is to
  /// be saved.
  template <class Save>
  bool save(const std::string& name, bool needed, const Save& save_to) {
    if (options_.out.empty()) return true;
    const std::string rescue = path(name + "-rescue");
    if (unless_needed(false, [&] { save_to(path(name)); })) {
      unless_needed(false, [&] {
        Removal old;
        old.add_saved(rescue, detail::manifest_file);
        old.go();
      });
      return true;
    }
    if (!unless_needed(needed, [&] { save_to(rescue); })) return false;
    warn("the checkpoint was saved as '" + rescue + "' instead");
    return true;
  }

  void warn(const std::string& text) const {
    if (on_warning_) {
      on_warning_(text);
    } else {
      std::fprintf(stderr, "warning: %s\n", text.c_str());
    }
  }

 private:
  std::string path(const std::string& name) const { return options_.out + "/" + name; }

  void claim() {
    if (lock_) return;
    require_own_places();
    make_folders(options_.out);
    lock_.emplace(options_.out, "run");
  }

  /// Throws if a save would replace what something else keeps: if the folder is inside a saved
  /// model, if `last` and `best` are one folder, or if one of them is inside another run, which has
  /// its own lock.
  void require_own_places() const {
    const auto refuse = [&](const std::string& why) {
      throw Error("cannot use '", options_.out, "' for a run: ", why);
    };
    const auto is_saved_model = detail::has_members({"format", "files", "sha256"});
    for (const std::string& place : {options_.out, detail::parent_folder(options_.out)})
      if (is_saved_model(place + "/" + detail::manifest_file))
        refuse("'" + place + "' is a saved model; choose a folder outside of it");
    if (detail::is_same_place(path("last"), path("best")))
      refuse("'last' and 'best' in it are one folder; put a copy in the place of the link");
    for (const char* name : {"last", "best"}) {
      const std::string place = detail::behind_links(path(name));
      const std::string around = detail::parent_folder(place), rows = around + "/metrics.jsonl";
      if (place != path(name) && !detail::is_same_place(around, options_.out) &&
          detail::exists(rows) && detail::has_metrics(rows))
        refuse("'" + std::string(name) + "' is a link into the run '" + around +
               "'; put a copy in the place of the link");
    }
  }

  /// Throws if the folder holds a run, or what looks like one, that is neither resumed nor
  /// overwritten.
  void require_free() const {
    if (resumed_ || !holds_run(options_.out)) return;
    detail::require_ours(path("metrics.jsonl"), detail::has_metrics);
    if (options_.overwrite) return;
    const std::string owner = FolderLock::owner(options_.out, "run");
    const bool cannot_go_on =
        owner.empty() && !has_checkpoint(options_.out) && !detail::exists(path("best"));
    throw Error("cannot start a run in '", options_.out, "': it already holds one",
                (owner.empty() ? "" : ", which " + owner + " is training"),
                (cannot_go_on ? ", stopped before its first checkpoint; " : "; resume that run, "),
                "overwrite it, or choose another folder");
  }

  /// Does the work. If it fails, the run warns and goes on, unless the work is needed. Returns true
  /// if it was done.
  template <class F>
  bool unless_needed(bool needed, const F& work) const {
    try {
      work();
      return true;
    } catch (const std::exception& error) {  // also if memory is short
      if (needed) throw;
      warn(std::string(error.what()) + "; the run goes on");
      return false;
    }
  }

  const TrainerOptions& options_;
  std::function<void(const std::string&)> on_warning_;
  std::optional<FolderLock> lock_;
  std::optional<MetricsWriter> metrics_;
  std::optional<TensorBoardWriter> board_;
  bool resumed_ = false, opened_ = false;
};

}  // namespace moe
