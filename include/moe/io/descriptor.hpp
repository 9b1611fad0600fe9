#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <moe/core/error.hpp>
#include <moe/core/format.hpp>
#include <string>
#include <string_view>
#include <utility>

// What all code that touches files shares: open files, paths, and error messages.

namespace moe::inline MOE_ISA {

namespace detail {

inline const char* hint_for(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free some space or choose another folder";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check the permissions or choose another folder";
    case EISDIR:
      return "give the path of a file";
    case ENOTDIR:
      return "a part of the path is a file, choose another folder";
    case ENOENT:
      return "check the path";
    default:
      return "check the path and the device";
  }
}

[[noreturn]] inline void file_failed(std::string_view action, std::string_view path, int code) {
  throw Error("cannot ", action, " '", path, "': ", std::strerror(code), "; ", hint_for(code));
}

/// Owns an open file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// Writes to an open file and gives how many bytes were written. When it is not all of them, errno
/// says why.
inline std::size_t write_all(const Descriptor& file, std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put == 0) errno = ENOSPC;
    if (put <= 0) break;
    done += static_cast<std::size_t>(put);
  }
  return done;
}

/// Like ::openat, but never returns descriptor 0, 1 or 2. If a program was started with one of
/// these closed, a file would otherwise take its number, and printed text would land in that file.
inline Descriptor open_at(int folder, const std::string& path, int flags, mode_t mode = 0) {
  Descriptor file(::openat(folder, path.c_str(), flags | O_CLOEXEC, mode));
  if (file.get() < 0 || file.get() > 2) return file;
  return Descriptor(::fcntl(file.get(), F_DUPFD_CLOEXEC, 3));
}
inline Descriptor open_file(const std::string& path, int flags, mode_t mode = 0) {
  return open_at(AT_FDCWD, path, flags, mode);
}

inline bool exists(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0;
}

inline std::string parent_folder(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

inline std::string without_last_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// The path itself or, if it is a symbolic link, the final target: we replace the target, not the
/// link. A dangling link is followed one step.
inline std::string behind_links(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0 || !S_ISLNK(status.st_mode)) return path;
  if (const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), ::free);
      real != nullptr)
    return real.get();
  char target[4096];
  const ssize_t size = ::readlink(path.c_str(), target, sizeof target);
  if (size <= 0) return path;
  const std::string to(target, static_cast<std::size_t>(size));
  return to.front() == '/' ? to : parent_folder(path) + "/" + to;
}

/// True if two paths lead to the same file or folder, which need not exist yet.
inline bool is_same_place(const std::string& a, const std::string& b) {
  struct stat first, second;
  if (::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0)
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
  return behind_links(a) == behind_links(b);
}

/// A part of a file name that is unique across programs and calls: process, count, time.
inline std::string unique_suffix() {
  static std::atomic<unsigned> count{0};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return format("%ld-%u-%lx%05lx", static_cast<long>(::getpid()), count.fetch_add(1),
                static_cast<unsigned long>(now.tv_sec),
                static_cast<unsigned long>(now.tv_nsec) & 0xFFFFFUL);
}

inline void sync_folder(const std::string& path) {
  const Descriptor folder = open_file(path, O_RDONLY | O_DIRECTORY);
  if (folder.get() < 0) file_failed("open folder", path, errno);
  // Some network file systems have no fsync for folders; they answer EINVAL.
  if (::fsync(folder.get()) != 0 && errno != EINVAL) file_failed("sync folder", path, errno);
}

}  // namespace detail

}  // namespace moe
