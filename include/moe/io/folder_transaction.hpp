#pragma once
#include <dirent.h>

#include <memory>
#include <moe/io/files.hpp>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

namespace moe {

namespace detail {

/// Names in a folder, sorted, without "." and "..".
inline std::vector<std::string> names_in(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (folder == nullptr) file_failed("open folder", path, errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Deletes a folder and the files in it. Never descends: a folder inside makes it fail.
inline void remove_flat_folder(const std::string& path) {
  if (!exists(path)) return;
  for (const std::string& name : names_in(path)) {
    const std::string file = path + "/" + name;
    if (::unlink(file.c_str()) != 0) file_failed("remove", file, errno);
  }
  if (::rmdir(path.c_str()) != 0) file_failed("remove folder", path, errno);
}

/// Swaps two folders in one step; false where the system or file system cannot.
inline bool exchange_folders(const std::string& a, const std::string& b) {
#if defined(__linux__) && defined(SYS_renameat2)
  constexpr unsigned rename_exchange = 2;
  return ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), rename_exchange) == 0;
#else
  return static_cast<void>(a), static_cast<void>(b), false;
#endif
}

inline std::string without_last_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace detail

/// Brings back NAME when a program died between the two renames of a commit: NAME.tmp-old becomes
/// NAME. Call it before reading NAME; it touches nothing else and is safe beside a writer.
inline void recover_folder(const std::string& path) {
  const std::string name = detail::without_last_slashes(path), old = name + ".tmp-old";
  if (detail::exists(name) || !detail::exists(old)) return;
  if (::rename(old.c_str(), name.c_str()) != 0 && errno != ENOENT) {
    detail::file_failed("recover", name, errno);
  }
}

/// Replaces a folder of files as a whole: NAME holds all of the new files after commit(), and
/// what it held before if anything fails or the power is cut earlier. Works in NAME.tmp/.
/// An existing NAME is replaced only if it is empty or holds the file `marker`, and no folder.
/// Errors: every failed step throws moe::Error; NAME is intact.  Test: tests/io/files.cpp.
///
///     moe::FolderTransaction save("checkpoints/last", "manifest.json");
///     save.write("manifest.json", json.dump(2));
///     save.commit();
class FolderTransaction {
 public:
  FolderTransaction(const std::string& path, const std::string& marker)
      : name_(detail::without_last_slashes(path)) {
    make_folders(detail::parent_folder(name_));
    recover_folder(name_);
    require_replaceable(marker);
    detail::remove_flat_folder(old());
    detail::remove_flat_folder(temporary());
    if (::mkdir(temporary().c_str(), 0777) != 0) {
      detail::file_failed("create folder", temporary(), errno);
    }
  }
  FolderTransaction(const FolderTransaction&) = delete;
  FolderTransaction& operator=(const FolderTransaction&) = delete;
  ~FolderTransaction() {
    if (committed_) return;
    try {
      detail::remove_flat_folder(temporary());
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
  }

  /// Where `file` will lie until commit(): for writers that take a path.
  std::string path(const std::string& file) const {
    MOE_EXPECTS(!file.empty() && file.find('/') == std::string::npos,
                "a file of a FolderTransaction needs a plain name, not '" + file + "'");
    return temporary() + "/" + file;
  }

  void write(const std::string& file, std::string_view bytes) {
    FileWriter writer(path(file));
    writer.write(bytes);
    writer.finish();
  }

  void commit() {
    MOE_EXPECTS(!committed_, "FolderTransaction::commit called twice for '" + name_ + "'");
    detail::sync_folder(temporary());
    if (detail::exists(name_)) {
      replace();
    } else if (::rename(temporary().c_str(), name_.c_str()) != 0) {
      detail::file_failed("replace folder", name_, errno);
    }
    committed_ = true;
    detail::sync_folder(detail::parent_folder(name_));
    detail::remove_flat_folder(old());
    detail::remove_flat_folder(temporary());  // after an exchange this is the former NAME
  }

 private:
  std::string temporary() const { return name_ + ".tmp"; }
  std::string old() const { return name_ + ".tmp-old"; }

  void replace() {
    if (detail::exchange_folders(temporary(), name_)) return;
    if (::rename(name_.c_str(), old().c_str()) != 0) {
      detail::file_failed("replace folder", name_, errno);
    }
    if (::rename(temporary().c_str(), name_.c_str()) != 0) {
      const int code = errno;
      recover_folder(name_);
      detail::file_failed("replace folder", name_, code);
    }
  }

  void require_replaceable(const std::string& marker) const {
    struct stat status;
    if (::lstat(name_.c_str(), &status) != 0) return;
    if (!S_ISDIR(status.st_mode)) detail::file_failed("replace folder", name_, ENOTDIR);
    const auto names = detail::names_in(name_);
    if (!names.empty() && !std::binary_search(names.begin(), names.end(), marker)) {
      throw Error("moe: cannot replace folder '" + name_ + "': it has files but no '" + marker +
                  "', so it is not what this program saved; choose another name");
    }
    for (const std::string& file : names) {
      if (::lstat((name_ + "/" + file).c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
        throw Error("moe: cannot replace folder '" + name_ + "': it holds the folder '" + file +
                    "', which this program did not save; choose another name");
      }
    }
  }

  std::string name_;
  bool committed_ = false;
};

}  // namespace moe
