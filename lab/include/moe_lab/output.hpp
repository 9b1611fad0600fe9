#pragma once
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace lab {

/// The exit code of a program that is done: `code`, or 1 and a sentence on stderr when not all that
/// it printed could be written (a full disk, a reader that has gone, a stdout that was closed).
/// The last thing that main does.   Test: tests/programs/output.py.
///
///     return lab::finish_output(run());
inline int finish_output(int code) {
  const bool failed_before = std::ferror(stdout) != 0;
  errno = 0;
  const bool failed_now = std::fflush(stdout) != 0;
  if (!failed_before && !failed_now) return code;
  std::fprintf(stderr,
               "moe: cannot write the output: not all of it reached stdout (%s); make room or give "
               "another place, and run it again\n",
               failed_now && errno != 0 ? std::strerror(errno) : "writing failed");
  return code == 0 ? 1 : code;
}

}  // namespace lab
