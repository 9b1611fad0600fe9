#pragma once
#include <cstdlib>
#include <moe/data/text.hpp>
#include <moe/io/checksum.hpp>
#include <moe/io/files.hpp>
#include <moe_lab/process.hpp>
#include <moe_lab/text/generated_stories.hpp>
#include <moe_lab/text/generated_verse.hpp>

namespace lab {

/// A text, a sentence that says where it came from, and its file ("": it was generated, or came
/// through a pipe and cannot be read again).
struct Corpus {
  std::string text, source, path = {};

  /// For messages: the source without "text: " in front.
  std::string name() const { return "the text '" + source.substr(6) + "'"; }
};

/// A public text that can be downloaded: file name, URL, SHA-256, and the generator of the text
/// that is used when it cannot be obtained.
struct KnownText {
  std::string file, url, sha256;  // sha256 may be empty: then the next two are checked
  std::size_t min_bytes = 1;
  std::string must_contain = {};
  std::vector<std::string> other_files = {};  // also accepted in $MOE_DATA_DIR, in order
  std::string generated = "verse";
  std::string (*generate)(std::size_t bytes, std::uint64_t seed) = generated_verse;
};

inline const KnownText tiny_shakespeare = {
    "tinyshakespeare.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"};

inline const KnownText tiny_stories = {
    "TinyStories-valid.txt",
    "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main/TinyStories-valid.txt",
    "",  // unknown
    10'000'000,
    "<|endoftext|>",
    {"TinyStoriesV2-GPT4-valid.txt", "tinystories_valid_sample.txt"},
    "stories",
    generated_stories};

namespace detail {

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Fetches the text to `to` with the first of curl and wget that works.
inline bool download(const KnownText& known, const std::string& to, int seconds) {
  const std::string limit = std::to_string(seconds);
  const auto works = [&](const std::vector<std::string>& words) {
    return run(words, Output::hidden, std::chrono::seconds(seconds)) == 0;
  };
  return works({"curl", "--fail", "--silent", "--location", "--max-time", limit, "--output", to,
                known.url}) ||
         works({"wget", "--quiet", "--tries=1", "--timeout=" + limit, "--output-document=" + to,
                known.url});
}

/// The folder for downloads, or "" when the environment names none.
inline std::string cache_folder() {
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return cache + "/moe";
  if (const std::string home = environment("HOME"); !home.empty()) return home + "/.cache/moe";
  return "";
}

/// Why `text` is not the known text, or "" if it is. Without a known SHA-256, "" if it looks like
/// that text.
inline std::string objection(const KnownText& known, std::string_view text) {
  if (!known.sha256.empty()) return moe::sha256(text) == known.sha256 ? "" : "has another SHA-256";
  if (text.size() < known.min_bytes) {
    return "has " + std::to_string(text.size()) + " bytes instead of at least " +
           std::to_string(known.min_bytes);
  }
  if (text.find('\0') != text.npos || moe::find_invalid_utf8(text) != text.npos) {
    return "is no text in UTF-8";
  }
  return text.find(known.must_contain) != text.npos ? "" : "has no " + known.must_contain;
}

/// Downloads the text into the cache. Returns "", or why that did not work.
inline std::string fill_cache(const KnownText& known, const std::string& cached, int seconds) {
  if (!environment("MOE_NO_DOWNLOAD").empty()) return "MOE_NO_DOWNLOAD forbids the download";
  if (cached.empty()) return "neither HOME nor XDG_CACHE_HOME is set";
  const std::string part = cached + ".moe-" + moe::detail::unique_suffix() + ".part";
  std::string why;
  try {
    moe::make_folders(moe::detail::parent_folder(cached));
    if (!download(known, part, seconds)) {
      why = "it could not be downloaded from " + known.url;
    } else if (why = objection(known, moe::read_file(part)); !why.empty()) {
      why = "the download from " + known.url + " " + why;
    } else if (moe::detail::exists(cached) &&  // another text of this name is kept
               ::rename(cached.c_str(),
                        (cached + ".moe-" + moe::detail::unique_suffix()).c_str()) != 0) {
      moe::detail::file_failed("move away", cached, errno);
    } else if (::rename(part.c_str(), cached.c_str()) != 0) {
      moe::detail::file_failed("create", cached, errno);
    }
  } catch (const moe::Error& error) {
    why = error.sentence();
  }
  ::unlink(part.c_str());
  return why;
}

}  // namespace detail

/// A text to train on, from the first place that has it: `path`, if one is given (a file, a pipe,
/// or "-" for standard input); $MOE_DATA_DIR; the cache ($XDG_CACHE_HOME or ~/.cache)/moe; a
/// download of at most `seconds` for each of curl and wget ($MOE_NO_DOWNLOAD forbids it); 1.1 MB of
/// generated text.
/// The cache and a download are used only if the SHA-256 is right. If none is known, they must look
/// right: long enough, in UTF-8, and containing the text that must be in it. `source` says which
/// was checked. If a path is given, no other place is tried.
/// Errors: a given path, or a file in $MOE_DATA_DIR, that is not a text.
/// Test: tests/lab/corpus.cpp.
inline Corpus find_text(const KnownText& known, std::string_view path, int seconds = 10) {
  if (!path.empty()) {
    const std::string given(path);
    const bool stream = moe::is_stream(given);
    return {moe::load_text(given), "text: " + (given == "-" ? "standard input" : given),
            stream ? "" : given};
  }
  if (const std::string folder = detail::environment("MOE_DATA_DIR"); !folder.empty()) {
    std::vector<std::string> names = known.other_files;
    names.insert(names.begin(), known.file);
    for (const std::string& name : names) {
      const std::string file = folder + "/" + name;
      if (moe::detail::exists(file))
        return {moe::load_text(file), "text: " + file + " (from MOE_DATA_DIR)", file};
    }
  }
  const std::string folder = detail::cache_folder();
  const std::string cached = folder.empty() ? "" : folder + "/" + known.file;
  const std::string trust = known.sha256.empty() ? "not verified by a hash" : "SHA-256 verified";
  const auto accepted = [&] {
    std::string text = cached.empty() || !moe::detail::exists(cached) ? "" : moe::read_file(cached);
    return detail::objection(known, text).empty() ? text : "";
  };
  if (std::string text = accepted(); !text.empty()) {
    return {std::move(text), "text: " + cached + " (cached, " + trust + ")", cached};
  }
  const std::string why = detail::fill_cache(known, cached, seconds);
  if (std::string text = accepted(); why.empty() && !text.empty()) {
    return {std::move(text), "text: " + cached + " (downloaded, " + trust + ")", cached};
  }
  return {known.generate(1'100'000, 1), "text: generated " + known.generated + ", because " +
                                            known.file + " was not found and " + why +
                                            "; give a text file to use your own"};
}

/// Tiny Shakespeare (1115394 bytes) as find_text finds it, or generated verse.
///
///     const lab::Corpus corpus = lab::find_tiny_shakespeare(path_given_by_the_user);
///     std::printf("%s\n", corpus.source.c_str());
inline Corpus find_tiny_shakespeare(std::string_view path = {}) {
  return find_text(tiny_shakespeare, path);
}

/// The validation part of TinyStories as find_text finds it, or generated stories. Its SHA-256 is
/// unknown: a download is used if it is UTF-8, has at least 10 MB and contains "<|endoftext|>". In
/// $MOE_DATA_DIR it is the first of TinyStories-valid.txt, TinyStoriesV2-GPT4-valid.txt and the
/// shorter tinystories_valid_sample.txt.
///
///     const lab::Corpus corpus = lab::find_tiny_stories(path_given_by_the_user);
inline Corpus find_tiny_stories(std::string_view path = {}) {
  return find_text(tiny_stories, path, 60);
}

}  // namespace lab
