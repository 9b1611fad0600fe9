#pragma once
#include <map>
#include <moe/io/folder_transaction.hpp>

namespace moe {

namespace detail {

/// The folder NAME, opened; where a writer is between two renames, or died there, the old one.
/// `place` becomes its path. Not open when there is neither.
inline Descriptor open_saved_folder(const std::string& path, std::string& place) {
  // Between two looks the folder can have been put into place and taken away again: a second look
  // finds it, and twenty do not miss it.
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

/// Whether two open files are the same one.
inline bool same_file(const Descriptor& a, const Descriptor& b) {
  struct stat first, second;
  return ::fstat(a.get(), &first) == 0 && ::fstat(b.get(), &second) == 0 &&
         first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

}  // namespace detail

/// The files of a saved folder, all opened at one moment: the ones before a save or the ones after
/// it, never some of each, however often a writer replaces the folder in the meantime. It waits for
/// nobody, renames nothing, and needs no right to write.
/// Errors: a list that is there and cannot be read; file() says what is missing.  Test:
/// tests/io/folder.cpp.
///
///     const moe::FolderReader folder("runs/a/last", "manifest.json");
///     const std::string text = moe::read_file(folder.file("manifest.json"));
class FolderReader {
 public:
  /// `list`: the file that names the others (see io/owned_files.hpp).
  FolderReader(const std::string& path, const std::string& list)
      : shown_(detail::without_last_slashes(path)) {
    for (;;) {
      std::string place;
      const detail::Descriptor folder = detail::open_saved_folder(path, place);
      if (folder.get() < 0) error_ = errno;
      if (folder.get() < 0 || open_all(folder, list)) return;
      // Something is not there. If another folder is in place by now, that is why.
      const detail::Descriptor now = detail::open_saved_folder(path, place);
      if (now.get() < 0 || detail::same_file(folder, now)) return;
    }
  }

  const std::string& path() const { return shown_; }
  bool has(const std::string& name) const { return files_.contains(name); }
  /// Why the folder, its list or a file of the list could not be opened: an errno; 0 if all were.
  int error() const { return error_; }

  /// A file of the folder.  Errors: the list does not name it, or it could not be opened.
  FileReader file(const std::string& name) const {
    const auto found = files_.find(name);
    if (found == files_.end())
      detail::file_failed("read", shown_ + "/" + name, error_ == 0 ? ENOENT : error_);
    return FileReader(detail::Descriptor(::fcntl(found->second.get(), F_DUPFD_CLOEXEC, 3)),
                      shown_ + "/" + name);
  }

 private:
  /// Opens the list and all that it names; false when one of them is not there.
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
    if (name.find('/') != std::string::npos) return true;  // no list of ours has that
    detail::Descriptor file = detail::open_at(folder.get(), name, O_RDONLY | O_NONBLOCK);
    if (file.get() < 0) return error_ = errno, false;
    files_.insert_or_assign(name, std::move(file));
    return true;
  }

  std::string shown_;
  std::map<std::string, detail::Descriptor> files_;
  int error_ = 0;
};

/// Calls read(path) for a saved folder that is read file by file, again if another one was put into
/// its place meanwhile: what it gives is of one save. `read` must change nothing that its next call
/// does not write anew.
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
