#pragma once
#include <sys/file.h>

#include <moe/io/files.hpp>

namespace moe {

namespace detail {

/// What taking a lock came to. `impossible`: this file system has none.
enum class Lock { taken, held_by_another, impossible };

/// A lock on an open file that ends when the file is closed, by the death of the process at latest.
inline Lock try_lock(const Descriptor& file) {
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    return errno == EWOULDBLOCK ? Lock::held_by_another : Lock::impossible;
  }
  return Lock::taken;
}

inline std::string host_name() {
  char host[256] = "";
  return ::gethostname(host, sizeof host - 1) == 0 ? host : "a machine";
}

/// "process 123 on host", for those who find a lock.
inline std::string this_process() {
  return "process " + std::to_string(::getpid()) + " on " + host_name();
}

/// What the holder of a lock wrote into its file.
inline std::string written_owner(const Descriptor& file) {
  char text[300];
  const ssize_t size = ::pread(file.get(), text, sizeof text, 0);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "another program";
}

/// A lock that is a file, there only while somebody holds it; inside is who. The death of the
/// process frees it. On a file system without locks everybody gets it.
class LockFile {
 public:
  /// Waits for up to `seconds` where another has it.
  LockFile(std::string path, double seconds) : path_(std::move(path)) {
    constexpr double pause = 0.002;
    for (double waited = 0; !held_; waited += pause) {
      file_ = open_file(path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0666);
      if (file_.get() < 0 && errno == EACCES) {  // another user's, perhaps: to read is enough
        file_ = open_file(path_, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        if (file_.get() < 0) file_failed("create", path_, EACCES);
      }
      if (file_.get() < 0) file_failed("create", path_, errno);
      if (try_lock(file_) != Lock::held_by_another) {
        held_ = is_at_path();  // else the one before us removed it while we waited
        continue;
      }
      if (waited >= seconds) return;
      const timespec length = {0, static_cast<long>(pause * 1e9)};
      ::nanosleep(&length, nullptr);
    }
    const std::string line = this_process();
    // On a full disk it is a lock all the same, only nobody can read whose.
    if (::ftruncate(file_.get(), 0) != 0 || ::pwrite(file_.get(), line.data(), line.size(), 0) < 0)
      return;
  }
  LockFile(LockFile&& other) noexcept = default;
  LockFile& operator=(LockFile&&) = delete;
  ~LockFile() {
    // After a fork the lock is the parent's.
    if (held_ && file_.get() >= 0 && ::getpid() == owner_ && is_at_path()) ::unlink(path_.c_str());
  }

  bool held() const { return held_; }
  /// Who has it when it is not held by us.
  std::string owner() const { return written_owner(file_); }

 private:
  bool is_at_path() const {
    struct stat ours, there;
    return ::fstat(file_.get(), &ours) == 0 && ::stat(path_.c_str(), &there) == 0 &&
           ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
  }

  std::string path_;
  Descriptor file_;
  pid_t owner_ = ::getpid();
  bool held_ = false;
};

}  // namespace detail

/// Owns a folder for the life of the object: whoever comes second, in this process or in another,
/// is told who has it. It is a lock on a file in the folder.
/// Errors: held by another, who is named; the folder cannot be written to.
/// Test: tests/io/folder.cpp.
///
///     const moe::FolderLock lock("runs/demo", "run");
class FolderLock {
 public:
  /// `what` is "run" or "study": a program may hold one lock of each kind on the same folder.
  FolderLock(const std::string& folder, const std::string& what) : file_(path_in(folder, what), 0) {
    if (file_.held()) return;
    throw Error("cannot use folder '" + folder + "' for a " + what + ": " + file_.owner() +
                " is using it; wait until that has ended, or choose another folder");
  }

  /// Who holds such a lock; "" when nobody does. It touches nothing.
  static std::string owner(const std::string& folder, const std::string& what) {
    const detail::Descriptor file =
        detail::open_file(path_in(folder, what), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (file.get() < 0 || detail::try_lock(file) != detail::Lock::held_by_another) return "";
    return detail::written_owner(file);
  }

 private:
  static std::string path_in(const std::string& folder, const std::string& what) {
    return folder + "/.moe-" + what + ".lock";
  }

  detail::LockFile file_;
};

}  // namespace moe
