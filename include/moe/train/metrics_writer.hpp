#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <optional>
#include <string>
#include <utility>

namespace moe::inline MOE_ISA {

/// A file of JSON objects, one per line. Each line is passed to the system before the next, so the
/// file is readable while it grows and after a crash. A resumed run first removes the rows of the
/// steps that it will repeat.
/// Errors: moe::Error with the file (full disk, permissions).  Test: tests/train/metrics.cpp.
///
///     moe::MetricsWriter metrics("runs/demo/metrics.jsonl");
///     metrics.write(row);
class MetricsWriter {
 public:
  /// Starts a new file. With `keep_to` >= 0, an existing file is continued after its rows with
  /// "step" <= keep_to. Lines that cannot be read as such rows are moved to a file beside it; they
  /// are no reason to stop.
  explicit MetricsWriter(std::string path, std::int64_t keep_to = -1) : path_(std::move(path)) {
    const bool goes_on = keep_to >= 0 && detail::exists(path_);
    write_file(path_, goes_on ? kept_rows(keep_to) : "");
    file_ = detail::open_file(path_, O_WRONLY | O_APPEND);
    if (file_.get() < 0) detail::file_failed("write", path_, errno);
  }

  /// The number of lines that could not be read, and the file that holds them now.
  int set_aside() const { return set_aside_; }
  std::string set_aside_path() const { return path_ + ".unreadable"; }

  void write(const Json& row) {
    const std::string line = row.dump() + "\n";
    struct stat before;
    if (::fstat(file_.get(), &before) != 0) detail::file_failed("write", path_, errno);
    if (detail::write_all(file_, line) == line.size()) return;
    const int code = errno;
    // An incomplete row would spoil the next one, which is appended to it.
    static_cast<void>(!::ftruncate(file_.get(), before.st_size));
    detail::file_failed("write", path_, code);
  }

 private:
  std::string kept_rows(std::int64_t keep_to) {
    const std::string text = read_file(path_);
    std::string kept, unreadable;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      const std::optional<std::int64_t> step = step_of(line);
      if (!step) unreadable += line + "\n", ++set_aside_;
      if (step && *step <= keep_to) kept += line + "\n";
      begin = end + 1;
    }
    if (set_aside_ > 0) {
      const std::string aside = set_aside_path();
      write_file(aside, (detail::exists(aside) ? read_file(aside) : "") + unreadable);
    }
    return kept;
  }
  static std::optional<std::int64_t> step_of(const std::string& line) {
    try {
      return parse_json(line).at("step").as_int("step");
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  std::string path_;
  detail::Descriptor file_;
  int set_aside_ = 0;
};

}  // namespace moe
