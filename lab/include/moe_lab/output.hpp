#pragma once
#include <moe/core/error.hpp>

namespace lab {

/// The exit code of a program. Returns `code`, or prints a sentence on stderr and returns 1 if not
/// all of its output could be written (full disk, reader gone, stdout closed). Call it last in
/// main.   Test: tests/programs/output.py.
///
///     return lab::finish_output(run());
inline int finish_output(int code) {
  const int written = moe::report_errors([] {});
  return code == 0 ? written : code;
}

}  // namespace lab
