#pragma once
#include <moe/core/error.hpp>

namespace lab {

/// The exit code of a program that is done: `code`, or 1 and a sentence on stderr when not all that
/// it printed could be written (a full disk, a reader that has gone, a stdout that was closed).
/// The last thing that main does.   Test: tests/programs/output.py.
///
///     return lab::finish_output(run());
inline int finish_output(int code) {
  const int written = moe::report_errors([] {});
  return code == 0 ? written : code;
}

}  // namespace lab
