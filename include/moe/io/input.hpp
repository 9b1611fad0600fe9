#pragma once
#include <moe/io/files.hpp>

namespace moe::inline MOE_ISA {

/// True if the path can be read only once and has no size: "-" (standard input), a pipe, a
/// terminal.
inline bool is_stream(const std::string& path) {
  struct stat status;
  if (path == "-") return true;
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

/// The name of an input in a message: 'a.txt', or standard input.
inline std::string input_name(const std::string& path) {
  return path == "-" ? "standard input" : "'" + path + "'";
}

/// Reads the text at `path` once: a file, a pipe (a FIFO, or the /dev/fd/63 of a shell's process
/// substitution), or "-" for standard input. Waits until a pipe is closed.
/// Errors: as read_file; also for a pipe that sends a NUL byte, because it is not text and may
/// never end.
/// Test: tests/io/input.cpp.
///
///     const std::string text = moe::read_input(path);
inline std::string read_input(const std::string& path) {
  if (!is_stream(path)) return read_file(path);
  const detail::Descriptor own =
      path == "-" ? detail::Descriptor() : detail::open_file(path, O_RDONLY);
  const int from = path == "-" ? STDIN_FILENO : own.get();
  std::string bytes, part(1 << 16, '\0');
  for (;;) {
    const ssize_t got = from < 0 ? -1 : ::read(from, part.data(), part.size());
    if (got < 0 && from >= 0 && errno == EINTR) continue;
    if (got < 0) detail::file_failed("read", path == "-" ? "standard input" : path, errno);
    if (got == 0) return bytes;
    bytes.append(part, 0, std::size_t(got));
    if (part.find('\0') < std::size_t(got)) {
      throw Error("cannot use ", input_name(path), " as text: byte ", bytes.find('\0'),
                  " is NUL; give a plain text in UTF-8");
    }
  }
}

}  // namespace moe
