#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <moe/io/folder_transaction.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;

namespace {

/// Writes beyond `bytes` of a file fail with EFBIG, as on a full disk, until the end of the scope.
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

TEST_CASE("FolderTransaction: commit creates a folder, then replaces it as a whole", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "runs/last/";
  {
    moe::FolderTransaction save(name, "manifest");
    save.write("manifest", "1");
    save.write("weights", "one");
    CHECK(!moe::detail::exists(folder / "runs/last"));
    save.commit();
  }
  CHECK(moe::read_file(folder / "runs/last/weights") == "one");
  {
    moe::FolderTransaction save(name, "manifest");
    save.write("manifest", "2");
    moe::write_file(save.path("other"), "two");
    CHECK(moe::read_file(folder / "runs/last/manifest") == "1");
    save.commit();
  }
  CHECK(moe::detail::names_in(folder / "runs/last") ==
        std::vector<std::string>{"manifest", "other"});
  CHECK(moe::read_file(folder / "runs/last/manifest") == "2");
  CHECK(moe::detail::names_in(folder / "runs") == std::vector<std::string>{"last"});
}

TEST_CASE("FolderTransaction: without commit, or when a write fails, nothing changes", "[error]") {
  const ScratchFolder folder;
  const auto save = [&](std::size_t bytes) {
    moe::FolderTransaction transaction(folder / "last", "manifest");
    transaction.write("manifest", "1");
    transaction.write("weights", std::string(bytes, 'x'));
    transaction.commit();
  };
  save(10);
  { moe::FolderTransaction dropped(folder / "last", "manifest"); }
  {
    const FileSizeLimit full(1000);
    const std::string message = message_of([&] { save(5000); });
    CHECK(is_sentence(message));
    CHECK(has(message, "last.tmp/weights"));
    CHECK(has(message, "File too large"));
  }
  CHECK(moe::read_file(folder / "last/weights") == std::string(10, 'x'));
  CHECK(moe::detail::names_in(folder.path()) == std::vector<std::string>{"last"});
}

TEST_CASE("FolderTransaction: what a killed program left is cleaned up or brought back", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  const auto make = [&](const std::string& path, const std::string& content) {
    moe::make_folders(path);
    moe::write_file(path + "/manifest", content);
  };
  SECTION("killed while writing") {
    make(name, "old");
    make(name + ".tmp", "half");
    moe::recover_folder(name);
    CHECK(moe::read_file(name + "/manifest") == "old");
    CHECK(moe::detail::exists(name + ".tmp"));  // perhaps of a program that is writing now
  }
  SECTION("killed between two renames") {
    make(name + ".tmp-old", "old");
    make(name + ".tmp", "new");
    moe::recover_folder(name);
    CHECK(moe::read_file(name + "/manifest") == "old");
  }
  SECTION("killed before the old folder was removed") {
    make(name, "old");
    make(name + ".tmp-old", "older");
    moe::recover_folder(name);
    CHECK(moe::read_file(name + "/manifest") == "old");
  }
  SECTION("nothing there") {
    moe::recover_folder(name);
  }
  moe::FolderTransaction save(name, "manifest");
  save.write("manifest", "next");
  save.commit();
  CHECK(moe::read_file(name + "/manifest") == "next");
  CHECK(moe::detail::names_in(folder.path()) == std::vector<std::string>{"last"});
}

TEST_CASE("FolderTransaction: killed at any moment, it leaves a whole folder", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  const auto save = [&](int version) {
    moe::FolderTransaction transaction(name, "manifest");
    transaction.write("manifest", std::to_string(version));
    transaction.write("weights", std::to_string(version) + std::string(20000, 'x'));
    transaction.commit();
  };
  save(1);
  const auto begin = std::chrono::steady_clock::now();
  for (int version = 2; version < 6; ++version) save(version);
  const std::chrono::duration<double, std::micro> one_save =
      (std::chrono::steady_clock::now() - begin) / 4;
  int last = 5;
  // On a busy machine the first rounds may end before a save did: later ones wait longer.
  for (int round = 0; round < 20 || (last == 5 && round < 2000); ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int version = last;; ++version) save(version);
    }
    ::usleep(static_cast<useconds_t>(one_save.count() * (0.5 + 0.15 * round)));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    moe::recover_folder(name);
    const std::string version = moe::read_file(name + "/manifest");
    CHECK(moe::read_file(name + "/weights") == version + std::string(20000, 'x'));
    CHECK(std::stoi(version) >= last);
    last = std::stoi(version);
  }
  CHECK(last > 5);
}

TEST_CASE("FolderTransaction: the exchange of folders works where the kernel offers it", "[io]") {
  const ScratchFolder folder;
  moe::make_folders(folder / "a");
  moe::make_folders(folder / "b");
  moe::write_file(folder / "a/x", "1");
  if (!moe::detail::exchange_folders(folder / "a", folder / "b")) return;
  CHECK(moe::detail::names_in(folder / "a").empty());
  CHECK(moe::read_file(folder / "b/x") == "1");
  CHECK(!moe::detail::exchange_folders(folder / "a", folder / "none"));
}

TEST_CASE("FolderTransaction: folders and files of the user are never replaced", "[error]") {
  const ScratchFolder folder;
  const auto save = [&](const std::string& name) {
    return message_of([&] { moe::FolderTransaction transaction(folder / name, "manifest"); });
  };
  moe::make_folders(folder / "empty");
  CHECK(save("empty").empty());
  moe::make_folders(folder / "photos");
  moe::write_file(folder / "photos/a.png", "x");
  CHECK(is_sentence(save("photos")));
  CHECK(has(save("photos"), "it has files but no 'manifest'"));
  moe::make_folders(folder / "deep/below");
  moe::write_file(folder / "deep/manifest", "x");
  CHECK(has(save("deep"), "it holds the folder 'below'"));
  moe::write_file(folder / "file", "x");
  CHECK(has(save("file"), "Not a directory"));
  CHECK(has(save("file/below"), "Not a directory"));
  CHECK(moe::read_file(folder / "file") == "x");
  CHECK(moe::read_file(folder / "photos/a.png") == "x");
}
