#pragma once
#include <moe/io/files.hpp>

namespace moe {

/// Whether a path can be read only once and has no size: "-" (standard input), a pipe, a terminal.
inline bool is_stream(const std::string& path) {
  struct stat status;
  if (path == "-") return true;
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

/// How a sentence names an input: 'a.txt', or standard input.
inline std::string input_name(const std::string& path) {
  return path == "-" ? "standard input" : "'" + path + "'";
}

/// The bytes of a text that a user names, read once: a file, a pipe (a FIFO, the /dev/fd/63 of a
/// shell's process substitution) or "-", standard input. Waits for what a pipe has yet to give.
/// Errors: as read_file; a pipe with a NUL byte, which is no text and may never end.
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
      throw Error("cannot use " + input_name(path) + " as text: byte " +
                  std::to_string(bytes.find('\0')) + " is NUL; give a plain text in UTF-8");
    }
  }
}

}  // namespace moe
