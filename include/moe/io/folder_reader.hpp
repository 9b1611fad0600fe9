#pragma once
#include <map>
#include <moe/io/folder_transaction.hpp>

namespace moe::inline MOE_ISA {

namespace detail {

/// Opens the folder at `path`. If a writer is between two renames, or died there, it opens the old
/// folder instead. Sets `place` to the path of the opened folder. The result is not open if neither
/// exists.
inline Descriptor open_saved_folder(const std::string& path, std::string& place) {
  // Between looking at the two paths a writer may have moved the folder from one to the other. A
  // second look finds it; twenty cannot all miss it.
  constexpr int looks = 20;
  for (int look = 0; look < looks; ++look) {
    place = behind_links(without_last_slashes(path));
    for (const std::string& candidate : {place, Beside(place).old()}) {
      Descriptor folder = open_file(candidate, O_RDONLY | O_DIRECTORY);
      if (folder.get() >= 0) return place = candidate, std::move(folder);
      if (errno != ENOENT) return folder;
    }
    const timespec pause = {0, 500'000};
    ::nanosleep(&pause, nullptr);
  }
  errno = ENOENT;
  return Descriptor();
}

/// True if both descriptors refer to the same file.
inline bool same_file(const Descriptor& a, const Descriptor& b) {
  struct stat first, second;
  return ::fstat(a.get(), &first) == 0 && ::fstat(b.get(), &second) == 0 &&
         first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

}  // namespace detail

/// A snapshot of a saved folder: all its files, opened together. They are all from before a save or
/// all from after it, however often a writer replaces the folder meanwhile. It never waits, renames
/// nothing, and needs no write permission.
/// Errors: moe::Error if the list exists and cannot be read. Missing files are reported by file().
/// Test: tests/io/folder.cpp.
///
///     const moe::FolderReader folder("runs/a/last", "manifest.json");
///     const std::string text = moe::read_file(folder.file("manifest.json"));
class FolderReader {
 public:
  /// `list`: the name of the file that lists the others (see io/owned_files.hpp).
  FolderReader(const std::string& path, const std::string& list)
      : shown_(detail::without_last_slashes(path)) {
    for (;;) {
      std::string place;
      const detail::Descriptor folder = detail::open_saved_folder(path, place);
      if (folder.get() < 0) error_ = errno;
      if (folder.get() < 0 || open_all(folder, list)) return;
      // Something is missing. If another folder is in place by now, that is the reason: try again.
      const detail::Descriptor now = detail::open_saved_folder(path, place);
      if (now.get() < 0 || detail::same_file(folder, now)) return;
    }
  }

  const std::string& path() const { return shown_; }
  bool has(const std::string& name) const { return files_.contains(name); }
  /// The errno of the folder, the list or a listed file that could not be opened; 0 if all could.
  int error() const { return error_; }

  /// Opens a file of the folder for reading.  Errors: the list does not name it, or it could not be
  /// opened.
  FileReader file(const std::string& name) const {
    const auto found = files_.find(name);
    if (found == files_.end())
      detail::file_failed("read", shown_ + "/" + name, error_ == 0 ? ENOENT : error_);
    return FileReader(detail::Descriptor(::fcntl(found->second.get(), F_DUPFD_CLOEXEC, 3)),
                      shown_ + "/" + name);
  }

 private:
  /// Opens the list and all files it names. Returns false if one of them is missing.
  bool open_all(const detail::Descriptor& folder, const std::string& list) {
    files_.clear();
    error_ = 0;
    if (!open_one(folder, list)) return false;
    const auto files = detail::files_of_list(read_file(file(list)));
    bool all = true;
    if (files)
      for (const auto& [name, entry] : files->members(list)) all = open_one(folder, name) && all;
    return all;
  }
  bool open_one(const detail::Descriptor& folder, const std::string& name) {
    if (name.find('/') != std::string::npos) return true;  // none of our lists contains such a name
    detail::Descriptor file = detail::open_at(folder.get(), name, O_RDONLY | O_NONBLOCK);
    if (file.get() < 0) return error_ = errno, false;
    files_.insert_or_assign(name, std::move(file));
    return true;
  }

  std::string shown_;
  std::map<std::string, detail::Descriptor> files_;
  int error_ = 0;
};

/// Calls read(path) for a saved folder that is read file by file, and calls it again if another
/// folder was put in its place meanwhile, so that the result comes from a single save. Each call of
/// `read` must start afresh.
///
///     const auto config = moe::read_settled("exported", [](const std::string& folder) { ... });
template <class Read>
auto read_settled(const std::string& path, const Read& read) {
  for (;;) {
    std::string place;
    const detail::Descriptor before = detail::open_saved_folder(path, place);
    const auto settled = [&] {
      std::string other;
      const detail::Descriptor now = detail::open_saved_folder(path, other);
      return before.get() < 0 || (now.get() >= 0 && detail::same_file(before, now));
    };
    try {
      auto result = read(before.get() < 0 ? path : place);
      if (settled()) return result;
    } catch (const Error&) {
      if (settled()) throw;
    }
  }
}

}  // namespace moe
