#pragma once
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <iterator>

// How the programs react when a terminal, a scheduler or a person asks them to end.

namespace lab {

/// Thrown after a signal, when the run has saved itself.
struct Stopped {};

namespace signals {

/// The exit code of a program that ended early because it was asked to.
inline constexpr int exit_code = 130;

namespace detail {

// Only these types may be touched in a handler.
inline volatile std::sig_atomic_t asked = 0, finishing = 0;

/// Signals that a person repeats if the first one did not end the program soon enough.
inline constexpr int impatient[] = {SIGINT, SIGTERM, SIGQUIT};
/// Signals that are sent automatically, some of them every second: SIGHUP when the terminal is
/// closed, SIGXCPU at a limit of processor time, SIGUSR1 and SIGUSR2 as a scheduler's warning.
inline constexpr int patient[] = {SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2};
inline volatile std::sig_atomic_t seen[std::size(impatient)] = {};

inline void on_signal(int number) {
  if (!finishing) {
    static constexpr char text[] = "moe: stopped by a signal before there was anything to save\n";
    [[maybe_unused]] const ssize_t written = ::write(2, text, sizeof text - 1);
    ::_exit(exit_code);
  }
  asked = 1;
  for (std::size_t i = 0; i < std::size(impatient); ++i) {
    if (impatient[i] != number) continue;
    if (seen[i]) std::signal(number, SIG_DFL);  // the third one ends the program at once
    seen[i] = 1;
  }
}

}  // namespace detail

/// Catches every signal by which a terminal or a scheduler ends a program. Until finish_first() is
/// called each of them ends it at once, with a sentence and the exit code above. A program that was
/// started by nohup still ignores SIGHUP. A pipe without a reader and a limit on the size of files
/// become errors of write() instead of signals.
/// Test: tests/programs/signals.py.
///
///     lab::signals::install();                        // lab::run_program does it
///     ... read the text, build the model ...
///     lab::signals::finish_first();                   // from here on there is something to save
///     callbacks.should_stop = lab::signals::interrupted;
inline void install() {
  for (const int number : detail::impatient) std::signal(number, detail::on_signal);
  for (const int number : detail::patient) {
    const auto before = std::signal(number, detail::on_signal);
    if (number == SIGHUP && before == SIG_IGN) std::signal(number, SIG_IGN);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

/// From here on a signal only makes interrupted() true.
inline void finish_first() {
  detail::finishing = 1;
}

/// Whether the program has been asked to end.
inline bool interrupted() {
  return detail::asked != 0;
}

}  // namespace signals

}  // namespace lab
