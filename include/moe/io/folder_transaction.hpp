#pragma once
#include <moe/io/folder_lock.hpp>
#include <moe/io/owned_files.hpp>

#if defined(__linux__)
#include <sys/syscall.h>

#include <algorithm>
#endif

namespace moe::inline MOE_ISA {

namespace detail {

/// For tests: false simulates a file system that cannot exchange folders.
inline bool exchange_allowed = true;

/// Swaps two folders atomically. Returns false if the system or the file system cannot.
inline bool exchange_folders(const std::string& a, const std::string& b) {
#if defined(__linux__) && defined(SYS_renameat2)
  constexpr unsigned rename_exchange = 2;
  return exchange_allowed &&
         ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), rename_exchange) == 0;
#else
  return static_cast<void>(a), static_cast<void>(b), false;
#endif
}

/// The parent folder of `path`, and the prefix of all working names that we create beside it.
struct Beside {
  std::string parent, stem;

  explicit Beside(const std::string& path) : parent(parent_folder(path)) {
    constexpr std::size_t longest = 180;  // a name has at most 255 bytes
    const std::string name = path.substr(path.find_last_of('/') + 1);
    stem = "." + (name.size() <= longest ? name : hex(xxh64(name.data(), name.size()))) + ".moe-";
  }
  std::string path(const std::string& end) const { return parent + "/" + stem + end; }
  /// The path of the old folder between the two renames that replace it, on systems that cannot
  /// exchange folders.
  std::string old() const { return path("old"); }
  /// The lock file that a saver holds while it inspects and renames.
  std::string lock() const { return path("lock"); }
};

/// Present in a working folder until all of its files are written.
inline constexpr const char* working_mark = ".moe-working";

/// A prefix of working folder names that identifies the machine.
inline std::string host_tag() {
  const std::string host = host_name();
  return hex(xxh64(host.data(), host.size())).substr(8) + "-";
}

inline bool is_older_than_a_day(const std::string& path) {
  constexpr std::time_t day = 24 * 60 * 60;
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && std::time(nullptr) - status.st_mtime > day;
}

}  // namespace detail

/// Replaces a folder of files as a whole. After commit() NAME holds the new files; before that, and
/// after any failure, kill or power cut, it holds the old ones. Files are written to a working
/// folder beside NAME. Several processes may save to one NAME: the last commit wins.
/// An existing NAME is replaced only if it is empty or its file `list` shows that we saved it.
/// Files and folders that others put into it are kept. It is an error, which names the file, if a
/// file of ours was changed or if a file of theirs has the name of a new one. Remains of killed
/// programs are removed.
/// Errors: every failed step throws moe::Error, and NAME is intact.  Test: tests/io/folder.cpp,
/// tests/programs/folder_storm.py.  Guarantees by file system: docs/design.md.
///
///     moe::FolderTransaction save("checkpoints/last", "manifest.json");
///     save.write("weights", bytes);
///     save.write_list("moe weights");
///     save.commit();
class FolderTransaction {
 public:
  FolderTransaction(const std::string& path, std::string list)
      : shown_(detail::without_last_slashes(path)),
        name_(detail::behind_links(shown_)),
        list_(std::move(list)),
        beside_(name_),
        working_(beside_.path(detail::host_tag() + detail::unique_suffix())) {
    const std::string last = name_.substr(name_.find_last_of('/') + 1);
    if (last.empty() || last == "." || last == "..")
      refuse("a save puts another folder into its place; give the name of a folder");
    make_folders(beside_.parent);
    const detail::LockFile lock = lock_place();
    tidy_up();
    require_replaceable();
    if (::mkdir(working_.c_str(), 0777) != 0) detail::file_failed("create folder", working_, errno);
    alive_ = detail::open_file(working_, O_RDONLY | O_DIRECTORY);
    detail::try_lock(alive_);
    try {
      FileWriter(path_of(detail::working_mark)).finish();
    } catch (...) {
      abandon();
      throw;
    }
  }
  FolderTransaction(const FolderTransaction&) = delete;
  FolderTransaction& operator=(const FolderTransaction&) = delete;
  ~FolderTransaction() {
    if (!committed_ && ::getpid() == owner_) abandon();  // in a forked child it is the parent's
  }

  /// The path of `file` before commit(), for writers that take a path.
  std::string path(const std::string& file) const {
    MOE_EXPECTS(!file.empty() && file.find('/') == std::string::npos,
                "a file of a FolderTransaction needs a plain name, not '", file, "'");
    return path_of(file);
  }
  /// The working folder, for writers that choose their own file names.
  const std::string& folder() const { return working_; }

  void write(const std::string& file, std::string_view bytes) {
    FileWriter writer = create(file);
    writer.write(bytes);
    writer.finish();
  }
  /// A new file of the folder, to be written in pieces.
  FileWriter create(const std::string& file) const {
    return FileWriter::create(path(file), shown_ + "/" + file);
  }

  /// Writes the list of all files written so far. `format` begins with "moe ". A caller with its
  /// own list, such as the manifest of a checkpoint, writes that instead.
  void write_list(const std::string& format) {
    Json list;
    list["format"] = format;
    list["files"] = Json::object();
    for (const std::string& file : written())
      list["files"][file] = detail::file_entry(path_of(file));
    write(list_, detail::seal(list));
  }

  void commit() {
    MOE_EXPECTS(!committed_, "FolderTransaction::commit called twice for '", name_, "'");
    MOE_EXPECTS(detail::exists(path_of(list_)), "'", list_, "' was not written to '", name_, "'");
    const detail::LockFile lock = lock_place();
    tidy_up();
    require_replaceable();
    ::unlink(path_of(detail::working_mark).c_str());
    detail::sync_folder(working_);
    const std::string displaced = swap();
    committed_ = true;
    alive_ = detail::Descriptor();
    detail::sync_folder(beside_.parent);
    if (displaced.empty()) return;
    try {
      empty_out(displaced);
    } catch (const Error& error) {  // the save is complete; leftovers are no failure
      std::fprintf(stderr, "warning: %s\n", error.what());
    }
  }

 private:
  /// Removes the working folder. What cannot be removed now (the disk may be gone) is left to the
  /// next saver.
  void abandon() noexcept {
    try {
      remove_all_files(working_);
    } catch (const std::exception&) {
    }
  }

  std::string path_of(const std::string& file) const { return working_ + "/" + file; }

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error("cannot replace folder '", shown_, "': ", why);
  }

  std::vector<std::string> written() const {
    auto names = detail::names_in(working_);
    std::erase(names, detail::working_mark);
    return names;
  }

  /// Takes the lock for inspecting and renaming. Without locks on this file system nobody waits.
  detail::LockFile lock_place() const {
    constexpr double seconds = 60;
    detail::LockFile lock(beside_.lock(), seconds);
    if (!lock.held())
      refuse(lock.owner() + " has been replacing it for a minute; try again when it has ended");
    return lock;
  }

  /// Throws if replacing NAME would lose something of the user's.
  void require_replaceable() const {
    struct stat status;
    if (::lstat(name_.c_str(), &status) != 0) return;
    if (!S_ISDIR(status.st_mode)) detail::file_failed("replace folder", shown_, ENOTDIR);
    const auto names = detail::names_in(name_);
    if (names.empty()) return;
    if (::access(name_.c_str(), W_OK) != 0)
      refuse("it is write-protected; allow to write to it or choose another name");
    const auto found = detail::owned_files(name_, list_);
    if (!found)
      refuse("it holds '" + names.front() + "' and no '" + list_ +
             "' that says that this library saved it; choose another name");
    if (!found->changed.empty())
      refuse("'" + found->changed.front() +
             "' was changed after it was saved and would be lost; move it away or choose another "
             "name");
    if (!detail::exists(working_)) return;
    for (const std::string& file : written())
      if (std::binary_search(found->strangers.begin(), found->strangers.end(), file))
        refuse("its '" + file +
               "' was not saved by this library and would be lost; move it away or choose "
               "another name");
  }

  /// Moves the new folder to NAME. Returns the path at which the old folder is now, or "".
  std::string swap() const {
    if (::rename(working_.c_str(), name_.c_str()) == 0) return "";  // NAME was absent or empty
    if (errno != ENOTEMPTY && errno != EEXIST) detail::file_failed("replace folder", shown_, errno);
    if (detail::exchange_folders(working_, name_)) return working_;
    if (::rename(name_.c_str(), beside_.old().c_str()) != 0)
      detail::file_failed("replace folder", shown_, errno);
    if (::rename(working_.c_str(), name_.c_str()) != 0) {
      const int code = errno;
      ::rename(beside_.old().c_str(), name_.c_str());
      detail::file_failed("replace folder", shown_, code);
    }
    return beside_.old();
  }

  /// Removes our files from a folder that was replaced, and moves the files of others to NAME.
  void empty_out(const std::string& displaced) const {
    if (const auto found = detail::owned_files(displaced, list_)) {
      for (const std::string& stranger : found->strangers) {
        const std::string from = displaced + "/" + stranger, to = name_ + "/" + stranger;
        if (detail::exists(to) || ::rename(from.c_str(), to.c_str()) != 0)
          std::fprintf(stderr, "moe: '%s' could not be moved to '%s' and stays where it is\n",
                       from.c_str(), to.c_str());
      }
    }
    detail::remove_owned(displaced, list_);
  }

  /// Cleans up after killed programs: restores a folder that was between two renames, and removes
  /// working folders without a living owner. Nothing is removed unless its content shows that it is
  /// ours.
  void tidy_up() const {
    const std::string old = beside_.old();
    if (!detail::exists(name_)) {
      const auto found = detail::owned_files(old, list_);
      if (found && found->whole && ::rename(old.c_str(), name_.c_str()) != 0)
        detail::file_failed("recover", shown_, errno);
    }
    for (const std::string& name : detail::names_in(beside_.parent)) {
      const std::string path = beside_.parent + "/" + name;
      if (!name.starts_with(beside_.stem) || path == working_) continue;
      const detail::Descriptor folder =
          detail::open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (folder.get() < 0) continue;
      // Skip it if its owner is alive or that is unknown. (A folder between two renames has no
      // owner.) The locks of another machine may not be visible here, so its folders count as dead
      // after a day.
      const bool ours = name.starts_with(beside_.stem + detail::host_tag());
      if (path != old && (detail::try_lock(folder) != detail::Lock::taken ||
                          (!ours && !detail::is_older_than_a_day(path))))
        continue;
      if (detail::exists(path + "/" + detail::working_mark)) {
        remove_all_files(path);
      } else if (detail::owned_files(path, list_)) {
        try {
          if (detail::exists(name_)) empty_out(path);  // else the next save does it
        } catch (const Error&) {
          // What cannot be removed stays; it blocks nothing.
        }
      } else {
        ::rmdir(path.c_str());  // removes it only if it is empty
      }
    }
  }

  /// Removes a working folder, all of whose files are ours. If somebody put a folder into it, that
  /// folder stays, together with the working mark.
  static void remove_all_files(const std::string& path) {
    bool all = true;
    for (const std::string& name : detail::names_in(path))
      if (name != detail::working_mark) all = ::unlink((path + "/" + name).c_str()) == 0 && all;
    if (!all) return;
    ::unlink((path + "/" + detail::working_mark).c_str());
    ::rmdir(path.c_str());
  }

  std::string shown_, name_, list_;
  detail::Beside beside_;
  std::string working_;
  detail::Descriptor alive_;  // the working folder, locked while this program lives
  pid_t owner_ = ::getpid();
  bool committed_ = false;
};

}  // namespace moe
