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

/// As try_lock, but waits for up to `seconds`.
inline Lock wait_for_lock(const Descriptor& file, double seconds) {
  constexpr double pause = 0.002;
  Lock lock = try_lock(file);
  for (double waited = 0; lock == Lock::held_by_another && waited < seconds; waited += pause) {
    const timespec length = {0, static_cast<long>(pause * 1e9)};
    ::nanosleep(&length, nullptr);
    lock = try_lock(file);
  }
  return lock;
}

}  // namespace detail

/// Owns a folder for the life of the object: whoever comes second, in this process or in another,
/// is told who has it. The death of the process frees it. It is a lock on the file `name` in the
/// folder, which holds a line about the owner and is removed at the end. On a file system without
/// locks everybody gets the folder.
/// Errors: held by another, who is named; the folder cannot be written to.
/// Test: tests/io/folder.cpp.
///
///     const moe::FolderLock lock("runs/demo", "run");
class FolderLock {
 public:
  /// `what` is "run" or "study": a program may hold one lock of each kind on the same folder.
  FolderLock(const std::string& folder, const std::string& what)
      : path_(folder + "/.moe-" + what + ".lock") {
    for (;;) {
      file_ = detail::open_file(path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0666);
      if (file_.get() < 0) detail::file_failed("create", path_, errno);
      if (detail::try_lock(file_) == detail::Lock::held_by_another) {
        throw Error("moe: cannot use folder '" + folder + "' for a " + what + ": " + owner() +
                    " is using it; wait until that has ended, or choose another folder");
      }
      if (is_at_path()) break;  // else the one before us removed it while we waited
    }
    char host[256] = "this machine";
    if (::gethostname(host, sizeof host - 1) != 0) std::snprintf(host, sizeof host, "a machine");
    const std::string line = "process " + std::to_string(::getpid()) + " on " + host;
    if (::ftruncate(file_.get(), 0) != 0 ||
        ::pwrite(file_.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()))
      detail::file_failed("write", path_, errno);
  }
  FolderLock(FolderLock&& other) noexcept = default;
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() {
    // After a fork the lock is the parent's.
    if (file_.get() >= 0 && ::getpid() == owner_ && is_at_path()) ::unlink(path_.c_str());
  }

 private:
  bool is_at_path() const {
    struct stat ours, there;
    return ::fstat(file_.get(), &ours) == 0 && ::stat(path_.c_str(), &there) == 0 &&
           ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
  }
  std::string owner() const {
    char text[300];
    const ssize_t size = ::pread(file_.get(), text, sizeof text, 0);
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "another program";
  }

  std::string path_;
  detail::Descriptor file_;
  pid_t owner_ = ::getpid();
};

}  // namespace moe
