#pragma once
#include <sys/file.h>

#include <moe/io/files.hpp>

namespace moe::inline MOE_ISA {

namespace detail {

/// The result of trying to lock. `impossible`: this file system has no locks.
enum class Lock { taken, held_by_another, impossible };

/// Locks an open file. The lock ends when the file is closed, at the latest when the process dies.
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

/// "process 123 on host", for programs that find the file locked.
inline std::string this_process() {
  return "process " + std::to_string(::getpid()) + " on " + host_name();
}

/// What the holder of a lock wrote into its file.
inline std::string written_owner(const Descriptor& file) {
  char text[300];
  const ssize_t size = ::pread(file.get(), text, sizeof text, 0);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "another program";
}

/// A lock in the form of a file that exists only while the lock is held and contains the name of
/// the holder. The lock ends if its process dies. On a file system without locks everyone gets it.
class LockFile {
 public:
  /// Waits up to `seconds` if another holder has it.
  LockFile(std::string path, double seconds) : path_(std::move(path)) {
    constexpr double pause = 0.002;
    for (double waited = 0; !held_; waited += pause) {
      file_ = open_file(path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0666);
      if (file_.get() < 0 && errno == EACCES) {  // perhaps another user's: read access suffices
        file_ = open_file(path_, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        if (file_.get() < 0) file_failed("create", path_, EACCES);
      }
      if (file_.get() < 0) file_failed("create", path_, errno);
      if (try_lock(file_) != Lock::held_by_another) {
        held_ = is_at_path();  // false if the previous holder removed the file while we waited
        continue;
      }
      if (waited >= seconds) return;
      const timespec length = {0, static_cast<long>(pause * 1e9)};
      ::nanosleep(&length, nullptr);
    }
    const std::string line = this_process();
    // If the disk is full the lock still works; only the name of its holder is missing.
    if (::ftruncate(file_.get(), 0) != 0 || ::pwrite(file_.get(), line.data(), line.size(), 0) < 0)
      return;
  }
  LockFile(LockFile&& other) noexcept = default;
  LockFile& operator=(LockFile&&) = delete;
  ~LockFile() {
    // In a forked child the lock is the parent's.
    if (held_ && file_.get() >= 0 && ::getpid() == owner_ && is_at_path()) ::unlink(path_.c_str());
  }

  bool held() const { return held_; }
  /// The holder, if it is not this object.
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

/// Reserves a folder for the lifetime of the object, by a lock on a file in it. A second user, in
/// this process or another one, gets an error.
/// Errors: moe::Error if another holder has it, with its name, or if the folder is not writable.
/// Test: tests/io/folder.cpp.
///
///     const moe::FolderLock lock("runs/demo", "run");
class FolderLock {
 public:
  /// `what` is "run" or "study". A program may hold one lock of each kind on the same folder.
  FolderLock(const std::string& folder, const std::string& what) : file_(path_in(folder, what), 0) {
    if (file_.held()) return;
    throw Error("cannot use folder '", folder, "' for a ", what, ": ", file_.owner(),
                " is using it; wait until that has ended, or choose another folder");
  }

  /// The holder of such a lock, or "" if there is none. Changes nothing.
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
