#pragma once
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <ctime>
#include <moe/data/generated_text.hpp>
#include <moe/data/text.hpp>
#include <moe/io/checksum.hpp>

extern char** environ;

namespace moe {

/// A text and a sentence that says where it came from.
struct Corpus {
  std::string text, source;
};

/// A public text that can be found again: file name, where it lies, what it must hash to.
struct KnownText {
  std::string file, url, sha256;
};

inline const KnownText tiny_shakespeare = {
    "tinyshakespeare.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"};

namespace detail {

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Runs a program found on PATH without a shell and without output; true if it ended well within
/// `seconds`. A program that takes longer is killed.
inline bool run_quietly(const std::vector<std::string>& arguments, double seconds) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  if (::posix_spawn_file_actions_init(&actions) != 0) return false;
  for (int fd = 0; fd < 3; ++fd) {
    ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
  }
  pid_t child = 0;
  const int failed = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return false;
  int status = 0;
  constexpr double pause = 0.02;
  for (double waited = 0; waited < seconds; waited += pause) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ended < 0 && errno != EINTR) return false;
    const std::timespec length = {0, static_cast<long>(pause * 1e9)};
    ::nanosleep(&length, nullptr);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return false;
}

/// Fetches the text to `to` with the first of curl and wget that works.
inline bool download(const KnownText& known, const std::string& to, int seconds) {
  const std::string limit = std::to_string(seconds);
  return run_quietly({"curl", "--fail", "--silent", "--location", "--max-time", limit, "--output",
                      to, known.url},
                     seconds) ||
         run_quietly({"wget", "--quiet", "--tries=1", "--timeout=" + limit,
                      "--output-document=" + to, known.url},
                     seconds);
}

/// The folder for downloads, or "" when the environment names none.
inline std::string cache_folder() {
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return cache + "/moe";
  if (const std::string home = environment("HOME"); !home.empty()) return home + "/.cache/moe";
  return "";
}

/// Downloads into the cache; says why when that did not work.
inline std::string fill_cache(const KnownText& known, const std::string& cached, int seconds) {
  if (!environment("MOE_NO_DOWNLOAD").empty()) return "MOE_NO_DOWNLOAD forbids the download";
  if (cached.empty()) return "neither HOME nor XDG_CACHE_HOME is set";
  const std::string part = cached + "." + std::to_string(::getpid()) + ".part";
  std::string why;
  try {
    make_folders(parent_folder(cached));
    if (!download(known, part, seconds)) {
      why = "it could not be downloaded from " + known.url;
    } else if (sha256(read_file(part)) != known.sha256) {
      why = "the download from " + known.url + " has another SHA-256";
    } else if (::rename(part.c_str(), cached.c_str()) != 0) {
      file_failed("create", cached, errno);
    }
  } catch (const Error& error) {
    why = std::string(error.what()).substr(5);
  }
  ::unlink(part.c_str());
  return why;
}

}  // namespace detail

/// A text to train on, from the first place that has it: the file `path`, if one is given;
/// $MOE_DATA_DIR; the cache ($XDG_CACHE_HOME or ~/.cache)/moe; a download of at most `seconds`
/// for each of curl and wget ($MOE_NO_DOWNLOAD forbids it); generated verse of 1 MB.
/// Cache and download count only with the right SHA-256.
/// Errors: a given path, or a file in $MOE_DATA_DIR, that is no text. A given path never falls
/// back. Test: tests/data/corpus.cpp.
inline Corpus find_text(const KnownText& known, std::string_view path, int seconds = 10) {
  if (!path.empty()) {
    return {load_text(std::string(path)), "text: " + std::string(path)};
  }
  if (const std::string folder = detail::environment("MOE_DATA_DIR"); !folder.empty()) {
    const std::string file = folder + "/" + known.file;
    if (detail::exists(file)) return {load_text(file), "text: " + file + " (from MOE_DATA_DIR)"};
  }
  const std::string folder = detail::cache_folder();
  const std::string cached = folder.empty() ? "" : folder + "/" + known.file;
  const auto verified = [&] {
    std::string text = cached.empty() || !detail::exists(cached) ? "" : read_file(cached);
    return sha256(text) == known.sha256 ? text : "";
  };
  if (std::string text = verified(); !text.empty()) {
    return {std::move(text), "text: " + cached + " (cached, SHA-256 verified)"};
  }
  const std::string why = detail::fill_cache(known, cached, seconds);
  if (std::string text = verified(); why.empty() && !text.empty()) {
    return {std::move(text), "text: " + cached + " (downloaded, SHA-256 verified)"};
  }
  return {generated_text(1'100'000, 1), "text: generated verse, because " + known.file +
                                            " was not found and " + why +
                                            "; give a text file to use your own"};
}

/// Tiny Shakespeare (1115394 bytes), or what find_text falls back to.
///
///     const moe::Corpus corpus = moe::find_tiny_shakespeare(path_given_by_the_user);
///     std::printf("%s\n", corpus.source.c_str());
inline Corpus find_tiny_shakespeare(std::string_view path = {}) {
  return find_text(tiny_shakespeare, path);
}

}  // namespace moe
