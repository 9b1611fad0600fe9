#include <signal.h>
#include <sys/resource.h>

#include <moe/io/owned_files.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

namespace {

/// While it lives, writes beyond `bytes` of a file fail with EFBIG, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("files: what write_file wrote, read_file reads", "[io]") {
  const ScratchFolder folder;
  const std::string bytes = std::string("a\0b\xFF", 4) + std::string(100000, 'x');
  moe::write_file(folder / "a", bytes);
  CHECK(moe::read_file(folder / "a") == bytes);
  moe::write_file(folder / "a", "");
  CHECK(moe::read_file(folder / "a").empty());
  CHECK(moe::detail::names_in(folder.path()) == std::vector<std::string>{"a"});
}

TEST_CASE("files: read errors name the path, the reason and what to try", "[error]") {
  const ScratchFolder folder;
  moe::write_file(folder / "file", "12345");
  const std::string missing = message_of([&] { moe::read_file(folder / "none"); });
  CHECK(missing ==
        "moe: cannot read '" + (folder / "none") + "': No such file or directory; check the path");
  CHECK(has(message_of([&] { moe::read_file(folder.path()); }), "Is a directory"));
  CHECK(has(message_of([&] { moe::read_file(folder / "file/below"); }), "Not a directory"));
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(
      has(message_of([&] { moe::read_file(folder / "pipe"); }), "it is a pipe or a device; save"));
  const moe::FileReader reader(folder / "file");
  char four[4];
  reader.read(1, four, 4);
  CHECK(std::string(four, 4) == "2345");
  const std::string cut = message_of([&] { reader.read(2, four, 4); });
  CHECK(is_sentence(cut));
  CHECK(has(cut, "it ends at byte 5 where 6 are needed"));
}

TEST_CASE("files: a failed write says why and leaves the old file as it was", "[error]") {
  const ScratchFolder folder;
  moe::write_file(folder / "a", "old");
  {
    const FileSizeLimit full(1000);
    const std::string message =
        message_of([&] { moe::write_file(folder / "a", std::string(5000, 'x')); });
    CHECK(is_sentence(message));
    CHECK(has(message, folder / "a"));
    CHECK(has(message, "File too large; free some space"));
  }
  CHECK(moe::read_file(folder / "a") == "old");
  CHECK(moe::detail::names_in(folder.path()) == std::vector<std::string>{"a"});
  CHECK(has(message_of([&] { moe::write_file(folder / "a/b", "x"); }), "Not a directory"));
  CHECK(has(message_of([&] { moe::write_file(folder / "no/b", "x"); }), "No such file"));
  CHECK(has(message_of([&] { moe::write_file(folder.path(), "x"); }), "Is a directory"));
}

TEST_CASE("files: a full disk is reported, and a device is written to, not replaced", "[error]") {
  const std::string device = "/dev/full";
  struct stat status;
  if (::stat(device.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) return;
  const std::string message = message_of([&] { moe::write_file(device, "x"); });
  CHECK(message ==
        "moe: cannot write '/dev/full': No space left on device; free some space or "
        "choose another folder");
  CHECK(::stat(device.c_str(), &status) == 0);
  CHECK(S_ISCHR(status.st_mode));
  CHECK(message_of([] { moe::write_file("/dev/null", "x"); }).empty());
}

TEST_CASE("files: make_folders makes all levels and refuses a file in the way", "[io]") {
  const ScratchFolder folder;
  moe::make_folders(folder / "a/b//c/");
  moe::make_folders(folder / "a/b/c");
  moe::write_file(folder / "a/b/c/file", "x");
  const std::string message = message_of([&] { moe::make_folders(folder / "a/b/c/file/d"); });
  CHECK(is_sentence(message));
  CHECK(has(message, "Not a directory"));
}

TEST_CASE("files: none gets the descriptor of a closed standard stream", "[io]") {
  const ScratchFolder folder;
  moe::write_file(folder / "there", "x");
  for (int closed = 0; closed < 3; ++closed) {
    const int kept = ::dup(closed);
    REQUIRE(kept > 2);
    ::close(closed);
    const auto reader = moe::detail::open_file(folder / "there", O_RDONLY);
    const moe::FileWriter writer(folder / "new");
    const int numbers[] = {reader.get(), writer.descriptor()};
    ::dup2(kept, closed);
    ::close(kept);
    CHECK(numbers[0] > 2);
    CHECK(numbers[1] > 2);
    CHECK((::fcntl(numbers[1], F_GETFD) & FD_CLOEXEC) != 0);
  }
}

TEST_CASE("files: writing to a link replaces the file behind it, its permissions stay", "[io]") {
  const ScratchFolder folder;
  moe::make_folders(folder / "real");
  moe::write_file(folder / "real/a", "old");
  REQUIRE(::chmod((folder / "real/a").c_str(), 0640) == 0);
  REQUIRE(::symlink("real/a", (folder / "link").c_str()) == 0);
  moe::write_file(folder / "link", "new");
  struct stat status;
  REQUIRE(::lstat((folder / "link").c_str(), &status) == 0);
  CHECK(S_ISLNK(status.st_mode));
  REQUIRE(::stat((folder / "real/a").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
  CHECK(moe::read_file(folder / "real/a") == "new");
  REQUIRE(::symlink("real/b", (folder / "ahead").c_str()) == 0);  // its file is still missing
  moe::write_file(folder / "ahead", "first");
  CHECK(moe::read_file(folder / "real/b") == "first");
}

TEST_CASE("files: a file of the user's with the name of a working file is not touched", "[io]") {
  const ScratchFolder folder;
  const std::string theirs = folder / ("a." + std::to_string(::getpid()) + ".tmp");
  moe::write_file(theirs, "theirs");
  moe::write_file(folder / "a", "ours");
  CHECK(moe::read_file(theirs) == "theirs");
  CHECK(moe::detail::names_in(folder.path()).size() == 2);
}
