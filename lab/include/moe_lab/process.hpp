#pragma once
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <moe/io/descriptor.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

extern char** environ;

// Starts other programs: downloads, nvidia-smi, plots, builds. They are found on PATH and started
// without a shell. Their standard input is empty.

namespace lab {

/// Longer than any program runs.
inline constexpr std::chrono::milliseconds forever = std::chrono::hours(24 * 365 * 100);

/// Where the output of a started program goes: to the output of this program, or nowhere.
enum class Output { shown, hidden };

namespace detail {

/// Starts a program whose output goes to the descriptors `out` and `err`; below 0: nowhere. With
/// `own_group` it leads a process group, so that one kill also reaches the programs that it
/// started. Returns -1 if it could not be started.
inline pid_t spawn(std::vector<std::string> words, int out, int err, bool own_group) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (::posix_spawn_file_actions_init(&actions) != 0) return -1;
  if (::posix_spawnattr_init(&attributes) != 0) {
    ::posix_spawn_file_actions_destroy(&actions);
    return -1;
  }
  for (const auto& [to, from] : {std::pair{1, out}, {2, err}}) {
    if (from < 0)
      ::posix_spawn_file_actions_addopen(&actions, to, "/dev/null", O_WRONLY, 0);
    else if (from != to)
      ::posix_spawn_file_actions_adddup2(&actions, from, to);
  }
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  sigset_t none;  // the program must not inherit the signals that this thread blocks
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  const int group = own_group ? POSIX_SPAWN_SETPGROUP : 0;
  ::posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSIGMASK | group));
  pid_t child = -1;
  const int failed =
      ::posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  return failed == 0 ? child : -1;
}

/// Waits for a program and returns its exit code. A program that takes longer than `limit` is
/// killed. Returns -1 if a signal ended it, and 0 if the code cannot be known because SIGCHLD is
/// ignored.
inline int exit_code_of(pid_t child, bool own_group, std::chrono::milliseconds limit) {
  using Clock = std::chrono::steady_clock;
  auto end = Clock::now() + limit;
  for (bool killed = false;;) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (ended < 0 && errno != EINTR) return 0;
    if (Clock::now() >= end) {
      if (killed) return -1;  // it does not even end when killed
      ::kill(own_group ? -child : child, SIGKILL);
      killed = true;
      end = Clock::now() + std::chrono::milliseconds(500);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace detail

/// Runs a program and waits for it. Returns its exit code, or -1 if it could not be started, was
/// ended by a signal, or took longer than `limit` and was killed.   Test: tests/lab/process.cpp.
///
///     const bool good = lab::run({"python3", "plot.py", folder}, lab::Output::shown) == 0;
inline int run(const std::vector<std::string>& words, Output output,
               std::chrono::milliseconds limit = forever) {
  std::fflush(stdout);  // keeps the order of our output and its output
  const bool shown = output == Output::shown;
  const pid_t child = detail::spawn(words, shown ? 1 : -1, shown ? 2 : -1, false);
  return child < 0 ? -1 : detail::exit_code_of(child, false, limit);
}

/// Runs a program and returns what it writes to standard output. Returns "" if it fails, writes
/// more than 1 MB, takes longer than `limit`, or the descriptor `stop` becomes readable. In the
/// last three cases it and the programs that it started are killed.
/// Test: tests/lab/process.cpp.
inline std::string output_of(const std::vector<std::string>& words, std::chrono::milliseconds limit,
                             int stop) {
  int ends[2];
  if (::pipe(ends) != 0) return "";
  const moe::detail::Descriptor out(ends[0]);
  moe::detail::Descriptor in(ends[1]);
  for (const int end : ends) ::fcntl(end, F_SETFD, FD_CLOEXEC);
  const pid_t child = detail::spawn(words, in.get(), -1, true);
  if (child < 0) return "";
  in = moe::detail::Descriptor();

  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + limit;
  std::string text;
  for (bool whole = false; !whole;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    pollfd wait[2] = {{out.get(), POLLIN, 0}, {stop, POLLIN, 0}};
    const int ready = ::poll(wait, 2, std::max(0, int(left.count())));
    if (ready < 0 && errno == EINTR) continue;
    char part[4096];
    const bool readable = ready > 0 && wait[1].revents == 0 && text.size() < 1'000'000;
    const ssize_t got = readable ? ::read(out.get(), part, sizeof part) : -1;
    if (got < 0) {
      ::kill(-child, SIGKILL);
      detail::exit_code_of(child, true, std::chrono::milliseconds(500));
      return "";
    }
    text.append(part, std::size_t(got));
    whole = got == 0;
  }
  return detail::exit_code_of(child, true, std::chrono::milliseconds(500)) == 0 ? text : "";
}

/// The first executable file of this name on PATH, or "".
inline std::string find_program(const std::string& name) {
  const char* value = std::getenv("PATH");
  std::string_view path = value == nullptr ? "" : value;
  while (!path.empty()) {
    const std::size_t colon = std::min(path.find(':'), path.size());
    std::string program = std::string(path.substr(0, colon)) + "/" + name;
    struct stat status;
    if (colon > 0 && ::stat(program.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        ::access(program.c_str(), X_OK) == 0) {
      return program;
    }
    path.remove_prefix(std::min(colon + 1, path.size()));
  }
  return "";
}

}  // namespace lab
