#pragma once
#include <sys/mman.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <moe/io/files.hpp>
#include <new>
#include <string>
#include <typeinfo>

#include "causes.hpp"
#include "io/scratch.hpp"

// Attacks a reader with broken files, and checks its error, memory and time.

// GCC's sanitizer runtime comes without a header for these.
extern "C" {
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, std::size_t),
                                              void (*)(const volatile void*));
std::size_t __sanitizer_get_allocated_size(const volatile void*);
}

namespace moe::hostile {

/// The bytes that are allocated on the heap by new and malloc, as the sanitizer counts them, and
/// their maximum.
inline std::atomic<std::int64_t> live_bytes{0}, peak_bytes{0};
inline void watch_heap() {
  const auto allocated = [](const volatile void*, std::size_t size) {
    const std::int64_t now = live_bytes += static_cast<std::int64_t>(size);
    if (now > peak_bytes) peak_bytes = now;
  };
  const auto released = [](const volatile void* block) {
    if (block) live_bytes -= static_cast<std::int64_t>(__sanitizer_get_allocated_size(block));
  };
  __sanitizer_install_malloc_and_free_hooks(allocated, released);
}

/// The totals of all cases, and the name of the case that runs. They are in memory that outlives
/// the process of the cases.
struct Totals {
  char current[256];
  int cases, rejected, accepted, failures;
  std::array<int, causes> of_cause;
  double worst_ratio, worst_seconds;  // the ratio is of files of 2 MiB and more
  char worst_ratio_case[256];
  std::int64_t worst_small;  // bytes above twice the file, of the smaller ones
  char worst_small_case[256];
};
inline Totals* totals = nullptr;

template <std::size_t N>
void keep_name(char (&to)[N], const std::string& name) {
  std::snprintf(to, N, "%s", name.c_str());
}

/// Writes a file without the sync of write_file, which would slow thousands of cases down.
inline void put_file(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw Error("cannot write '", path, "' for the test; free some space");
}

/// One kind of file, a good example of it, and the function that reads it. On a broken example the
/// function must throw moe::Error with one sentence that contains `named`, within a second, and
/// with at most `constant` bytes more on the heap than twice the size of the files. It must accept
/// the good one.
class Reader {
 public:
  static constexpr std::int64_t mebibyte = 1 << 20;

  Reader(std::string kind, std::string path, std::string named, std::string good,
         std::function<void()> read)
      : kind_(std::move(kind)),
        path_(std::move(path)),
        named_(std::move(named)),
        good_(std::move(good)),
        read_(std::move(read)) {
    control();
  }
  Reader(const Reader&) = delete;
  ~Reader() { control(); }

  const std::string& good() const { return good_; }
  /// Bytes of other files that the function reads as well.
  void also_reads(std::size_t bytes) { others_ = bytes; }

  /// From here on `constant` bytes more than twice the size of the files are allowed.
  void allow(std::int64_t constant) { constant_ = constant; }

  void rejects(Cause cause, const std::string& what, std::string_view bytes) {
    put_file(path_, bytes);
    check(cause, what, bytes.size(), true);
  }
  /// Checks that the bytes are rejected with moe::Error, or accepted, as the format may not reveal
  /// the change.
  void survives(Cause cause, const std::string& what, std::string_view bytes) {
    put_file(path_, bytes);
    check(cause, what, bytes.size(), false);
  }
  /// As rejects(), for a change other than the content of the file: make() makes it, undo() undoes
  /// it.
  void rejects_state(Cause cause, const std::string& what, const std::function<void()>& make,
                     const std::function<void()>& undo) {
    put_file(path_, good_);
    make();
    check(cause, what, good_.size(), true);
    undo();
  }
  /// The good example with the first `part` replaced. `part` must occur in it.
  std::string with(const std::string& part, const std::string& other) const {
    const std::size_t at = good_.find(part);
    if (at == std::string::npos) fail(kind_, "the test looks for '" + part + "', which is gone");
    return at == std::string::npos ? good_ : std::string(good_).replace(at, part.size(), other);
  }

  /// Attacks: a folder in place of the file, a missing file, and an empty one.
  void misplaced(bool empty_is_good = false) {
    rejects_state(
        Cause::missing_part, "a folder",
        [&] { ::unlink(path_.c_str()), ::mkdir(path_.c_str(), 0777); },
        [&] { ::rmdir(path_.c_str()); });
    rejects_state(
        Cause::missing_part, "absent", [&] { ::unlink(path_.c_str()); }, [] {});
    if (!empty_is_good) rejects(Cause::missing_part, "empty", "");
  }
  /// Attacks: the file cut to every length (with `step` > 1, to every `step`-th), and extended by 1
  /// to 64 bytes.
  void cut_and_appended(bool must_reject, std::size_t step = 1) {
    for (std::size_t n = 0; n < good_.size(); n += step)
      damaged("cut to " + std::to_string(n), std::string_view(good_).substr(0, n), must_reject);
    for (std::size_t n = 1; n <= 64; ++n)
      damaged(std::to_string(n) + " bytes more", good_ + std::string(n, '\0'), must_reject);
  }
  /// Attacks: each bit of the bytes from `begin` to `end` flipped, and each byte replaced by 0x00
  /// and 0xFF.
  void flipped(std::size_t begin, std::size_t end, bool must_reject, std::size_t step = 1) {
    for (std::size_t i = begin; i < std::min(end, good_.size()); i += step) {
      for (int change = 0; change < 10; ++change) {
        std::string bytes = good_;
        const auto old = static_cast<unsigned char>(bytes[i]);
        const int other = change < 8 ? old ^ (1 << change) : change == 8 ? 0 : 255;
        if (other == old) continue;
        bytes[i] = static_cast<char>(other);
        damaged("byte " + std::to_string(i) + " is " + std::to_string(other), bytes, must_reject);
      }
    }
  }

 private:
  void damaged(const std::string& what, std::string_view bytes, bool must_reject) {
    must_reject ? rejects(Cause::damage, what, bytes) : survives(Cause::damage, what, bytes);
  }

  static void fail(const std::string& name, const std::string& why) {
    ++totals->failures;
    std::string shown = why.substr(0, 600);
    for (char& c : shown)
      if (static_cast<unsigned char>(c) < 32) c = '?';
    std::printf("FAILED %s: %s\n", name.c_str(), shown.c_str());
  }

  void control() {
    put_file(path_, good_);
    keep_name(totals->current, kind_ + ": the good file");
    try {
      read_();
    } catch (const std::exception& error) {
      fail(totals->current, std::string("is not accepted: ") + error.what());
    }
  }

  /// The path in the message is the test's own, so its bytes may be anything.
  static std::string why_not_a_sentence(const std::string& message, const std::string& named) {
    if (!message.starts_with("moe: ")) return "does not begin with 'moe: '";
    if (message.find("moe: ", 1) != std::string::npos) return "has 'moe: ' twice";
    if (message.find(named) == std::string::npos) return "does not name " + named;
    if (message.size() > 1 << 14) return "has " + std::to_string(message.size()) + " bytes";
    if (message.find("; ") == std::string::npos) return "does not say what to try";
    for (const char c : message)
      if (static_cast<unsigned char>(c) < 32 || c == 127) return "has a control character";
    return "";
  }

  void check(Cause cause, const std::string& what, std::size_t size, bool must_reject) {
    const std::string name = kind_ + ": " + what;
    keep_name(totals->current, name);
    ++totals->cases, ++totals->of_cause[static_cast<std::size_t>(cause)];
    bool rejected = false;
    std::string wrong;
    const std::int64_t before = live_bytes;
    peak_bytes = before;
    const std::clock_t start = std::clock();
    try {
      read_();
    } catch (const Error& error) {
      const std::int64_t peak = peak_bytes;
      rejected = true;
      const std::string message = error.what();
      if (const std::string why = why_not_a_sentence(message, named_); !why.empty())
        wrong = "the message " + why + ": " + message;
      peak_bytes = peak;
    } catch (const std::exception& error) {
      wrong = std::string("threw ") + typeid(error).name() + ": " + error.what();
    }
    const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
    const std::int64_t peak = peak_bytes - before;
    const auto bytes = static_cast<std::int64_t>(size + others_);
    ++(rejected ? totals->rejected : totals->accepted);
    if (!wrong.empty()) {
      fail(name, wrong);
    } else if (must_reject && !rejected) {
      fail(name, "was accepted");
    }
    if (peak > 2 * bytes + constant_) {
      fail(name, std::to_string(peak) + " bytes of memory for files of " + std::to_string(bytes));
    }
    if (seconds >= 1) fail(name, "took " + std::to_string(seconds) + " s");
    totals->worst_seconds = std::max(totals->worst_seconds, seconds);
    const double ratio = double(peak) / double(std::max<std::int64_t>(bytes, 1));
    if (constant_ == mebibyte && bytes >= 2 * mebibyte && ratio > totals->worst_ratio) {
      totals->worst_ratio = ratio;
      keep_name(totals->worst_ratio_case, name);
    }
    if (constant_ == mebibyte && bytes < mebibyte && peak - 2 * bytes > totals->worst_small) {
      totals->worst_small = peak - 2 * bytes;
      keep_name(totals->worst_small_case, name);
    }
  }

  std::string kind_, path_, named_, good_;
  std::function<void()> read_;
  std::int64_t constant_ = mebibyte;
  std::size_t others_ = 0;
};

inline std::string repeated(std::string_view part, std::size_t count) {
  std::string all;
  all.reserve(part.size() * count);
  for (std::size_t i = 0; i < count; ++i) all += part;
  return all;
}

}  // namespace moe::hostile
