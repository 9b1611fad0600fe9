#pragma once
#include <cstdint>
#include <moe/io/descriptor.hpp>
#include <moe/io/foreign_file.hpp>
#include <vector>

namespace moe::inline MOE_ISA {

/// A file opened for reading at any position. `size` is the size at the time of opening.
/// Errors: moe::Error if the file is missing, unreadable, a folder, a pipe or a pointer of Git LFS,
/// or became shorter.  Test: tests/io/files.cpp.
class FileReader {
 public:
  // Without O_NONBLOCK, opening a pipe that has no writer would block.
  explicit FileReader(const std::string& path)
      : FileReader(detail::open_file(path, O_RDONLY | O_NONBLOCK), path) {}

  /// For a file that is already open; `path` is for messages. Throws if `file` is not open.
  FileReader(detail::Descriptor file, std::string path)
      : path_(std::move(path)), file_(std::move(file)) {
    struct stat status;
    if (file_.get() < 0 || ::fstat(file_.get(), &status) != 0) {
      detail::file_failed("read", path_, errno);
    }
    if (S_ISDIR(status.st_mode)) detail::file_failed("read", path_, EISDIR);
    if (!S_ISREG(status.st_mode)) {
      throw Error("cannot read '", path_,
                  "': it is a pipe or a device; save its content to a file first");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
    refuse_pointer();
  }

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  /// Reads up to `bytes` bytes from `offset` into `to`. Returns their number, which is smaller only
  /// at the end of the file.
  std::size_t read_some(std::uint64_t offset, void* to, std::size_t bytes) const {
    std::size_t done = 0;
    while (done < bytes) {
      const ssize_t got = ::pread(file_.get(), static_cast<char*>(to) + done, bytes - done,
                                  static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) detail::file_failed("read", path_, errno);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  /// Reads exactly `bytes` bytes from `offset` into `to`.
  void read(std::uint64_t offset, void* to, std::size_t bytes) const {
    const std::size_t got = read_some(offset, to, bytes);
    if (got == bytes) return;
    throw Error("cannot read '", path_, "': it ends at byte ", offset + got, " where ",
                offset + bytes, " are needed; the file was cut off, copy it again");
  }

 private:
  /// Git LFS leaves a small text where the file should be, and no reader wants that.
  void refuse_pointer() const {
    constexpr std::uint64_t largest_pointer = 1024;
    if (size_ > largest_pointer) return;
    char begin[64];
    const std::string_view text(begin, read_some(0, begin, sizeof begin));
    if (detail::is_lfs_pointer(text)) detail::refuse_foreign(text, path_);
  }

  std::string path_;
  detail::Descriptor file_;
  std::uint64_t size_ = 0;
};

/// The bytes of the whole file.  Errors: as FileReader.
inline std::string read_file(const FileReader& file) {
  std::string bytes(file.size(), '\0');
  bytes.resize(file.read_some(0, bytes.data(), bytes.size()));
  return bytes;
}
inline std::string read_file(const std::string& path) {
  return read_file(FileReader(path));
}

/// Writes a file from its beginning. The data is certainly on the disk only after finish().
/// Errors: every failed or short write (full disk, quota, size limit) throws moe::Error with the
/// path and the reason.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path) : FileWriter(path, path, O_TRUNC) {}

  /// Creates a file that must not exist yet. `shown` is its name in messages.
  static FileWriter create(const std::string& place, std::string shown) {
    return FileWriter(place, std::move(shown), O_EXCL);
  }

  const std::string& path() const { return path_; }

  void write(std::string_view bytes) {
    if (detail::write_all(file_, bytes) < bytes.size()) detail::file_failed("write", path_, errno);
  }
  void write(const void* data, std::size_t bytes) {
    write(std::string_view(static_cast<const char*>(data), bytes));
  }

  /// Waits until everything is on the disk, then closes the file.
  void finish() {
    // Pipes and devices have no fsync; they answer EINVAL.
    if (::fsync(file_.get()) != 0 && errno != EINVAL) detail::file_failed("write", path_, errno);
    if (::close(file_.release()) != 0) detail::file_failed("write", path_, errno);
  }

  /// For system calls on the open file.
  int descriptor() const { return file_.get(); }

 private:
  FileWriter(const std::string& place, std::string shown, int flags)
      : path_(std::move(shown)), file_(detail::open_file(place, O_WRONLY | O_CREAT | flags, 0666)) {
    if (file_.get() < 0) detail::file_failed("create", path_, errno);
  }

  std::string path_;
  detail::Descriptor file_;
};

/// Creates a folder and its parents. Existing folders are fine.
inline void make_folders(const std::string& path) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    struct stat status;
    if (::mkdir(part.c_str(), 0777) == 0) continue;
    const int code = errno;
    if (::stat(part.c_str(), &status) != 0) detail::file_failed("create folder", part, code);
    if (!S_ISDIR(status.st_mode)) detail::file_failed("create folder", part, ENOTDIR);
  }
}

/// Replaces a file by what fill(FileWriter&) writes. Afterwards `path` holds all of it, or, after
/// an error or a power cut, its old content: the new file is written under a unique name in the
/// same folder and then renamed. Symbolic links and permissions are kept. A device or a pipe is
/// written to directly.
template <class Fill>
void replace_file(const std::string& path, Fill&& fill) {
  struct stat status;
  const bool there = ::stat(path.c_str(), &status) == 0;
  if (there && S_ISDIR(status.st_mode)) detail::file_failed("write", path, EISDIR);
  if (there && !S_ISREG(status.st_mode)) {
    FileWriter file(path);
    fill(file);
    return file.finish();
  }
  const std::string place = detail::behind_links(path);
  const std::string target =
      detail::parent_folder(place) + "/.moe-" + detail::unique_suffix() + ".tmp";
  auto file = FileWriter::create(target, path);
  try {
    if (there && ::fchmod(file.descriptor(), status.st_mode & 07777) != 0 && errno != EPERM)
      detail::file_failed("write", path, errno);
    fill(file);
    file.finish();
    if (::rename(target.c_str(), place.c_str()) != 0) detail::file_failed("write", path, errno);
  } catch (...) {
    ::unlink(target.c_str());
    throw;
  }
  detail::sync_folder(detail::parent_folder(place));
}

/// Replaces a file by `bytes`, all or nothing.
///
///     moe::write_file("out/metrics.json", json.dump(2));
inline void write_file(const std::string& path, std::string_view bytes) {
  replace_file(path, [&](FileWriter& file) { file.write(bytes); });
}

}  // namespace moe
