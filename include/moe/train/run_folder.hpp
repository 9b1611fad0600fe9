#pragma once
#include <algorithm>
#include <functional>
#include <moe/checkpoint/manifest.hpp>
#include <moe/io/folder_reader.hpp>
#include <moe/io/tensorboard.hpp>

namespace moe::inline MOE_ISA {

namespace detail {

/// Returns true if the content of a file shows that a run of this library wrote it.
using LooksOurs = std::function<bool(const std::string& path)>;

/// Recognizes a file of JSON objects, one per line, whose first object has all of these members. An
/// empty file is accepted too: nothing in it could be lost.
inline LooksOurs has_rows_with(std::vector<std::string> names) {
  return [names = std::move(names)](const std::string& path) {
    const std::string text = read_file(path);
    if (text.empty()) return true;
    try {
      const Json row = parse_json(std::string_view(text).substr(0, text.find('\n')), path);
      return row.is_object() && std::all_of(names.begin(), names.end(), [&](const auto& name) {
               return row.find(name) != nullptr;
             });
    } catch (const Error&) {
      return false;
    }
  };
}
/// Recognize the rows of a Trainer, and the samples of a program.
inline const LooksOurs has_metrics = has_rows_with({"kind", "step"});
inline const LooksOurs has_samples = has_rows_with({"step", "text"});

/// True for an event file that a TensorBoardWriter wrote. Other programs write event files too,
/// sometimes to the same folder.
inline bool has_events(const std::string& path) {
  char start[128] = {};
  try {
    const std::size_t size = FileReader(path).read_some(0, start, sizeof start);
    return std::string_view(start, size).find(events_writer) != std::string_view::npos;
  } catch (const Error&) {
    return false;  // a folder, a pipe, or not readable
  }
}

/// Recognizes a file with one JSON object that has all of these members.
inline LooksOurs has_members(std::vector<std::string> names) {
  return [names = std::move(names)](const std::string& path) {
    try {
      const Json json = parse_json(read_file(path), path);
      return json.is_object() && std::all_of(names.begin(), names.end(), [&](const auto& name) {
               return json.find(name) != nullptr;
             });
    } catch (const Error&) {
      return false;
    }
  };
}

/// Throws if a file exists at the place of one of ours and its content is not ours.
inline void require_ours(const std::string& path, const LooksOurs& ours) {
  if (!exists(path)) return;
  bool known = false;
  try {
    known = ours(path);
  } catch (const Error&) {
    // A folder, a pipe, or not readable.
  }
  if (known) return;
  throw Error("cannot write '", path,
              "': something is there that no run of this library wrote; move it away or choose "
              "another folder");
}

}  // namespace detail

/// A list of files and folders to remove. Each is checked when it is added, and refused if it is
/// not ours; go() removes them only after all were accepted.
///
///     moe::Removal removal;
///     removal.add_run("runs/a");
///     removal.go();
class Removal {
 public:
  /// Adds a file, if it exists.
  void add_file(const std::string& path, const detail::LooksOurs& ours) {
    detail::require_ours(path, ours);
    if (detail::exists(path)) files_.push_back(path);
  }
  /// Adds a folder that a FolderTransaction saved. It must hold nothing else.
  void add_saved(const std::string& link, const std::string& list) {
    const std::string place = detail::behind_links(link), old = detail::Beside(place).old();
    // If a program died between two renames, the folder is at `old`, and would be restored later.
    const std::string path = detail::exists(place) || !detail::owned_files(old, list) ? place : old;
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) return;
    const auto refuse = [&](const std::string& name) {
      throw Error("cannot remove '", path, "': it holds '", name,
                  "', which this library did not save there; move that away or choose another "
                  "folder");
    };
    if (!S_ISDIR(status.st_mode)) detail::file_failed("remove folder", path, ENOTDIR);
    const auto found = detail::owned_files(path, list);
    const auto names = detail::names_in(path);
    if (!found && !names.empty()) refuse(names.front());
    if (found && !found->changed.empty()) refuse(found->changed.front());
    if (found && !found->strangers.empty()) refuse(found->strangers.front());
    folders_.emplace_back(path, list);
  }
  /// Adds everything that a Trainer and the programs around it write to the folder of a run. Other
  /// files in it are kept.
  void add_run(const std::string& folder) {
    if (!detail::exists(folder)) return;
    add_file(folder + "/metrics.jsonl", detail::has_metrics);
    add_file(folder + "/samples.jsonl", detail::has_samples);
    add_file(folder + "/summary.json", detail::has_members({"params_total"}));
    for (const std::string& name : detail::names_in(folder))
      if (name.starts_with("events.out.tfevents.") && detail::has_events(folder + "/" + name))
        files_.push_back(folder + "/" + name);
    for (const char* name : {"last", "best", "last-rescue", "best-rescue"})
      add_saved(folder + "/" + name, detail::manifest_file);
  }
  /// Locks a folder, so that no run can use it until everything is removed.
  /// Errors: moe::Error if a run is using it, with its process.
  void lock(const std::string& folder) {
    if (detail::exists(folder)) locks_.emplace_back(folder, "run");
  }
  /// Adds a folder that is removed if it is empty in the end.
  void add_if_empty(const std::string& path) { emptied_.push_back(path); }
  /// Removes everything. If something cannot be removed, throws before removing anything.
  void go() {
    for (const std::string& path : files_) require_writable(detail::parent_folder(path));
    for (const auto& [path, list] : folders_) {
      require_writable(path);
      require_writable(detail::parent_folder(path));
    }
    for (const std::string& path : files_)
      if (::unlink(path.c_str()) != 0) detail::file_failed("remove", path, errno);
    for (const auto& [path, list] : folders_) detail::remove_owned(path, list);
    locks_.clear();
    for (const std::string& path : emptied_) ::rmdir(path.c_str());
  }

 private:
  static void require_writable(const std::string& folder) {
    if (::access(folder.c_str(), W_OK | X_OK) != 0)
      detail::file_failed("remove anything from folder", folder, errno);
  }

  std::vector<FolderLock> locks_;
  std::vector<std::string> files_, emptied_;
  std::vector<std::pair<std::string, std::string>> folders_;
};

/// True if a folder holds something of a run: rows, a checkpoint, a result.
inline bool holds_run(const std::string& folder) {
  for (const char* name : {"metrics.jsonl", "last", "last-rescue", "best", "best-rescue",
                           "samples.jsonl", "summary.json"}) {
    const std::string place = detail::behind_links(folder + "/" + name);
    if (detail::exists(place) || detail::exists(detail::Beside(place).old())) return true;
  }
  return false;
}

namespace detail {

/// True if all files of a checkpoint exist and match its manifest. Reads every byte.
inline bool is_intact(const std::string& path) {
  try {
    const FolderReader reader(path, manifest_file);
    const Json manifest = read_manifest(reader);
    for (const auto& [name, entry] : manifest.at("files").members("files"))
      if (entry.at("xxh64", name).as_string(name) != hash_of(reader.file(name))) return false;
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace detail

/// The checkpoints from which the run in a folder can be resumed, the newest first: `last`, and
/// `last-rescue` if that could be saved when `last` could not.
inline std::vector<std::string> checkpoints(const std::string& folder) {
  std::vector<std::pair<std::int64_t, std::string>> found;
  for (const char* name : {"last", "last-rescue"}) {
    const std::string path = folder + "/" + name, place = detail::behind_links(path);
    if (!detail::exists(place) && !detail::exists(detail::Beside(place).old())) continue;
    std::int64_t step = -1;
    try {
      step = read_manifest(path).at("cursor").at("step").as_int("cursor.step");
    } catch (const Error&) {
      // Damaged: if there is no better checkpoint, loading it gives the more useful error.
    }
    found.emplace_back(step, path);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> paths;
  paths.reserve(found.size());
  for (const auto& [step, path] : found) paths.push_back(path);
  return paths;
}

/// True if a run in a folder is to be resumed. If there is only `best`, it cannot be, and the error
/// of require_checkpoints says what to do.
inline bool has_checkpoint(const std::string& folder) {
  return !checkpoints(folder).empty() || detail::exists(detail::behind_links(folder + "/best"));
}

/// The result of checkpoints().  Errors: moe::Error if it is empty; the message says whether `best`
/// can be used.
inline std::vector<std::string> require_checkpoints(const std::string& folder) {
  auto found = checkpoints(folder);
  if (!found.empty()) return found;
  const std::string best = folder + "/best";
  throw Error("cannot resume '", folder, "': it holds neither 'last' nor 'last-rescue'; ",
              (detail::is_intact(best) ? "put a copy of '" + best +
                                             "' there as 'last' to go on "
                                             "from the best evaluation"
                                       : "check the path, or overwrite a run that was killed "
                                         "before its first checkpoint"));
}

/// The first of checkpoints(), or "".
inline std::string newest_checkpoint(const std::string& folder) {
  const auto found = checkpoints(folder);
  return found.empty() ? "" : found.front();
}

}  // namespace moe
