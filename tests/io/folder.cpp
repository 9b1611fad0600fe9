#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <filesystem>
#include <moe/io/folder_reader.hpp>
#include <thread>

#include "catch.hpp"
#include "io/scratch.hpp"

using moe::FolderTransaction;
using moe::detail::names_in;
using moe::test::has;
using moe::test::is_sentence;
using moe::test::message_of;
using moe::test::ScratchFolder;
using Names = std::vector<std::string>;

namespace {

/// Saves a folder with two files of the same content.
void save(const std::string& path, const std::string& content) {
  FolderTransaction transaction(path, "list.json");
  transaction.write("weights", content);
  transaction.write("notes", content);
  transaction.write_list("moe test");
  transaction.commit();
}

/// The content of the folder's files; "" if they differ.
std::string content_of(const std::string& path) {
  const moe::FolderReader folder(path, "list.json");
  const std::string content = moe::read_file(folder.file("weights"));
  return moe::read_file(folder.file("notes")) == content ? content : "";
}

/// Runs f as on systems that can exchange two folders in one step, and as on others.
template <class F>
void on_both_kinds_of_file_system(const F& f) {
  for (const bool exchange : {true, false}) {
    moe::detail::exchange_allowed = exchange;
    INFO("exchange of folders: " << exchange);
    f();
  }
  moe::detail::exchange_allowed = true;
}

/// Every file below a folder with its content.
std::map<std::string, std::string> all_files(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
    files[entry.path().string()] =
        entry.is_regular_file() ? moe::read_file(entry.path().string()) : "a folder";
  return files;
}

}  // namespace

TEST_CASE("FolderTransaction: commit creates a folder, then replaces it as a whole", "[io]") {
  on_both_kinds_of_file_system([] {
    const ScratchFolder folder;
    const std::string name = folder / "runs/last/";
    {
      FolderTransaction first(name, "list.json");
      first.write("weights", "one");
      first.write("more", "one");
      first.write_list("moe test");
      CHECK(!moe::detail::exists(folder / "runs/last"));
      first.commit();
    }
    CHECK(moe::read_file(folder / "runs/last/weights") == "one");
    save(name, "two");
    CHECK(names_in(folder / "runs/last") == Names{"list.json", "notes", "weights"});
    CHECK(content_of(name) == "two");
    CHECK(names_in(folder / "runs") == Names{"last"});
  });
}

TEST_CASE("FolderTransaction: without commit, or when a write fails, nothing changes", "[error]") {
  const ScratchFolder folder;
  save(folder / "last", "old");
  { FolderTransaction dropped(folder / "last", "list.json"); }
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit full{1000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &full);
  const std::string message = message_of([&] { save(folder / "last", std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  CHECK(is_sentence(message));
  CHECK(has(message, folder / "last/weights"));
  CHECK(has(message, "File too large"));
  CHECK(content_of(folder / "last") == "old");
  CHECK(names_in(folder.path()) == Names{"last"});
}

TEST_CASE("FolderTransaction: a folder is ours by the content of its list, not by a name",
          "[error]") {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& name) {
    const auto before = all_files(folder.path());
    const std::string message = message_of([&] { save(folder / name, "ours"); });
    CHECK(is_sentence(message));
    CHECK(all_files(folder.path()) == before);
    return message;
  };
  moe::make_folders(folder / "empty");
  CHECK(message_of([&] { save(folder / "empty", "ours"); }).empty());
  moe::make_folders(folder / "photos");
  moe::write_file(folder / "photos/a.png", "x");
  CHECK(has(refused("photos"), "it holds 'a.png'"));
  for (const std::string list :
       {"{}", "hello", "", "[]", R"({"port":8080})", R"({"format":"zip","files":{"app.py":{}}})",
        R"({"format":"moe test"})", R"({"format":"moe test","files":["app.py"]})"}) {
    moe::make_folders(folder / "app");
    moe::write_file(folder / "app/list.json", list);
    moe::write_file(folder / "app/app.py", "print()");
    CHECK(has(refused("app"), "'app.py'"));
  }
  moe::write_file(folder / "file", "x");
  CHECK(has(refused("file"), "Not a directory"));
  CHECK(has(refused("file/below"), "Not a directory"));
  CHECK(has(refused("."), "give the name of a folder"));
  CHECK(has(refused("empty/.."), "give the name of a folder"));
}

TEST_CASE("FolderTransaction: what others put into our folder stays there", "[io]") {
  on_both_kinds_of_file_system([] {
    const ScratchFolder folder;
    const std::string name = folder / "last";
    save(name, "one");
    moe::write_file(name + "/thesis.txt", "two years of work");
    moe::make_folders(name + "/.ipynb_checkpoints/deep");
    moe::write_file(name + "/.ipynb_checkpoints/deep/a", "b");
    save(name, "two");
    save(name, "three");
    CHECK(content_of(name) == "three");
    CHECK(moe::read_file(name + "/thesis.txt") == "two years of work");
    CHECK(moe::read_file(name + "/.ipynb_checkpoints/deep/a") == "b");
    CHECK(names_in(folder.path()) == Names{"last"});
  });
}

TEST_CASE("FolderTransaction: what the user wrote over our files is not lost", "[error]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  save(name, "one");
  moe::write_file(name + "/notes", "edited");
  CHECK(has(message_of([&] { save(name, "two"); }), "'notes' was changed"));
  CHECK(moe::read_file(name + "/notes") == "edited");
  moe::write_file(name + "/notes", "one");
  moe::write_file(name + "/extra", "theirs");
  const std::string message = message_of([&] {
    FolderTransaction transaction(name, "list.json");
    transaction.write("extra", "ours");
    transaction.write_list("moe test");
    transaction.commit();
  });
  CHECK(has(message, "'extra' was not saved by this library"));
  CHECK(moe::read_file(name + "/extra") == "theirs");
  CHECK(content_of(name) == "one");
  CHECK(names_in(folder.path()) == Names{"last"});
}

TEST_CASE("FolderTransaction: large files may be copied but not changed", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  for (const std::size_t bytes : {std::size_t(1) << 20, (std::size_t(1) << 20) + 1}) {
    const std::string saved(bytes, 'y');
    std::string edited = saved;
    edited.back() = 'z';
    save(name, std::string(bytes, 'x'));
    save(name, saved);
    CHECK(content_of(name) == saved);
    for (const std::string& other : {std::string("shorter"), edited}) {
      moe::write_file(name + "/weights", other);
      CHECK(has(message_of([&] { save(name, "z"); }), "'weights' was changed"));
      CHECK(moe::read_file(name + "/weights") == other);
    }
    moe::write_file(name + "/weights", saved);  // younger than the list, as after a copy
    save(name, "small");
  }
}

TEST_CASE("FolderTransaction: a list that was edited, or only looks like ours, is kept", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last", list = name + "/list.json";
  save(name, "one");
  std::string edited = moe::read_file(list);
  edited.replace(edited.find("moe test"), 8, "moe note");
  moe::write_file(list, edited);
  CHECK(has(message_of([&] { save(name, "two"); }), "'list.json' was changed"));
  CHECK(moe::read_file(list) == edited);
  moe::write_file(list, R"({"format": "moe pictures", "files": {"weights": {}}})");
  CHECK(has(message_of([&] { save(name, "two"); }), "no 'list.json' that says"));
  CHECK(moe::read_file(name + "/weights") == "one");
}

TEST_CASE("FolderTransaction: somebody else's lock on the parent folder is no obstacle", "[io]") {
  const ScratchFolder folder;  // as `flock runs/a program --out runs/a` has it
  const auto parent = moe::detail::open_file(folder.path(), O_RDONLY | O_DIRECTORY);
  REQUIRE(moe::detail::try_lock(parent) == moe::detail::Lock::taken);
  save(folder / "last", "one");
  save(folder / "last", "two");
  CHECK(content_of(folder / "last") == "two");
  CHECK(names_in(folder.path()) == Names{"last"});
}

TEST_CASE("FolderTransaction: what another machine is writing is left alone for a day", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last", working = moe::detail::Beside(name).path("ab-1-2-3");
  moe::make_folders(working);
  moe::write_file(working + "/weights", "half");
  moe::write_file(working + "/" + moe::detail::working_mark, "");
  save(name, "one");
  CHECK(moe::read_file(working + "/weights") == "half");
  const timespec long_ago[2] = {{1, 0}, {1, 0}};
  REQUIRE(::utimensat(AT_FDCWD, working.c_str(), long_ago, 0) == 0);
  save(name, "two");
  CHECK(names_in(folder.path()) == Names{"last"});
}

TEST_CASE("FolderTransaction: a folder that vanishes during a save is an error, not a crash",
          "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "runs/last";
  const std::string message = message_of([&] {
    FolderTransaction transaction(name, "list.json");
    std::filesystem::rename(folder / "runs", folder / "elsewhere");  // as an unplugged disk does
    transaction.write("weights", "one");
  });
  CHECK(is_sentence(message));
}

TEST_CASE("LockFile: a lock that another user holds is respected if it may only be read", "[io]") {
  const ScratchFolder folder;
  const std::string path = folder / "lock";
  const moe::detail::LockFile lock(path, 0);
  REQUIRE(::chmod(folder.path().c_str(), 0777) == 0);
  REQUIRE(::chmod(path.c_str(), 0444) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);  // root may write everywhere
    try {
      const moe::detail::LockFile second(path, 0);
      ::_exit(second.held() ? 1 : 0);
    } catch (const moe::Error&) {
      ::_exit(3);
    }
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("FolderReader: says why a file cannot be opened", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  save(name, "one");
  CHECK(moe::FolderReader(name, "list.json").error() == 0);
  ::unlink((name + "/notes").c_str());
  REQUIRE(::symlink("notes", (name + "/notes").c_str()) == 0);
  const std::string message =
      message_of([&] { moe::FolderReader(name, "list.json").file("notes"); });
  CHECK(is_sentence(message));
  CHECK(has(message, std::strerror(ELOOP)));
  moe::write_file(folder / "file", "x");
  CHECK(moe::FolderReader(folder / "file", "list.json").error() == ENOTDIR);
}

TEST_CASE("FolderTransaction: a save does not fail because of leftovers", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  const std::string working = moe::detail::Beside(name).path(moe::detail::host_tag() + "1-2-3");
  moe::make_folders(working + "/@eaDir");
  moe::write_file(working + "/@eaDir/thumb", "theirs");
  moe::write_file(working + "/" + moe::detail::working_mark, "");
  save(name, "one");
  save(name, "two");
  CHECK(content_of(name) == "two");
  CHECK(moe::read_file(working + "/@eaDir/thumb") == "theirs");
}

TEST_CASE("FolderLock, FolderTransaction: a forked child takes nothing from its parent", "[io]") {
  const ScratchFolder folder;
  const moe::FolderLock lock(folder.path(), "run");
  FolderTransaction transaction(folder / "last", "list.json");
  const pid_t child = ::fork();
  if (child == 0) {
    {
      moe::FolderLock own_lock(std::move(const_cast<moe::FolderLock&>(lock)));
      std::destroy_at(&transaction);
    }
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  CHECK(is_sentence(message_of([&] { moe::FolderLock second(folder.path(), "run"); })));
  transaction.write("weights", "x");
  transaction.write_list("moe test");
  transaction.commit();
  CHECK(moe::read_file(folder / "last/weights") == "x");
}

TEST_CASE("FolderTransaction: files of others beside the folder are never replaced", "[io]") {
  on_both_kinds_of_file_system([] {
    const ScratchFolder folder;
    const std::string name = folder / "model";
    const Names theirs = {"model.tmp", "model.tmp-old", ".model.moe-theirs"};
    for (const std::string& other : theirs) {
      moe::make_folders(folder / other);
      moe::write_file(folder / (other + "/a"), "theirs");
    }
    moe::write_file(folder / ".model.moe-file", "theirs");
    save(name, "one");
    save(name, "two");
    for (const std::string& other : theirs)
      CHECK(moe::read_file(folder / (other + "/a")) == "theirs");
    CHECK(moe::read_file(folder / ".model.moe-file") == "theirs");
    CHECK(names_in(folder.path()).size() == 5);
    // Not even in the place where the old folder would lie for a moment.
    moe::make_folders(moe::detail::Beside(name).old());
    moe::write_file(moe::detail::Beside(name).old() + "/a", "theirs");
    static_cast<void>(message_of([&] { save(name, "three"); }));
    CHECK(moe::read_file(moe::detail::Beside(name).old() + "/a") == "theirs");
    CHECK(content_of(name) == (moe::detail::exchange_allowed ? "three" : "two"));
  });
}

TEST_CASE("FolderTransaction: what killed programs left is removed or restored", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  const std::string old = moe::detail::Beside(name).old();
  const std::string working = moe::detail::Beside(name).path(moe::detail::host_tag() + "1-2-3");
  save(name, "one");
  SECTION("killed while writing") {
    moe::make_folders(working);
    moe::write_file(working + "/" + moe::detail::working_mark, "");
    moe::write_file(working + "/weights", "half");
    CHECK(content_of(name) == "one");
    CHECK(names_in(folder.path()).size() == 2);  // a reader removes nothing
  }
  SECTION("killed between two renames") {
    REQUIRE(::rename(name.c_str(), old.c_str()) == 0);
    CHECK(content_of(name) == "one");
    CHECK(!moe::detail::exists(name));  // a reader renames nothing
    {
      FolderTransaction next(name, "list.json");
      CHECK(content_of(name) == "one");
      CHECK(moe::detail::exists(name));
    }
  }
  SECTION("killed before the old folder was removed, or half-way through that") {
    REQUIRE(::rename(name.c_str(), working.c_str()) == 0);
    moe::write_file(working + "/thesis.txt", "theirs");
    save(name, "two");
    save(name, "two");
    CHECK(moe::read_file(name + "/thesis.txt") == "theirs");
    save(folder / "other", "zero");
    REQUIRE(::unlink((folder / "other/weights").c_str()) == 0);
    REQUIRE(::rename((folder / "other").c_str(), old.c_str()) == 0);
    CHECK(content_of(name) == "two");
  }
  SECTION("an empty folder") {
    moe::make_folders(working);
  }
  save(name, "next");
  CHECK(content_of(name) == "next");
  CHECK(names_in(folder.path()) == Names{"last"});
}

TEST_CASE("FolderTransaction: two that write at once do not mix, and the last commit stays",
          "[io]") {
  on_both_kinds_of_file_system([] {
    const ScratchFolder folder;
    const std::string name = folder / "last";
    FolderTransaction first(name, "list.json"), second(name, "list.json");
    for (FolderTransaction* transaction : {&first, &second}) {
      const std::string content = transaction == &first ? "first" : "second";
      transaction->write("weights", content);
      transaction->write("notes", content);
      transaction->write_list("moe test");
    }
    save(name, "between");
    first.commit();
    CHECK(content_of(name) == "first");
    second.commit();
    CHECK(content_of(name) == "second");
    CHECK(names_in(folder.path()) == Names{"last"});
  });
}

TEST_CASE("FolderTransaction: a link to a folder stays a link", "[io]") {
  const ScratchFolder folder;
  moe::make_folders(folder / "big_disk");
  REQUIRE(::symlink("big_disk/last", (folder / "last").c_str()) == 0);
  save(folder / "last", "one");
  save(folder / "last", "two");
  CHECK(content_of(folder / "last") == "two");
  CHECK(content_of(folder / "big_disk/last") == "two");
  CHECK(std::filesystem::is_symlink(folder / "last"));
  CHECK(names_in(folder / "big_disk") == Names{"last"});
}

TEST_CASE("FolderTransaction: names as long as a file system allows", "[io]") {
  on_both_kinds_of_file_system([] {
    const ScratchFolder folder;
    const std::string name = folder / std::string(255, 'n');
    save(name, "one");
    save(name, "two");
    CHECK(content_of(name) == "two");
    CHECK(names_in(folder.path()).size() == 1);
  });
}

TEST_CASE("FolderReader: reads the files of one save, whatever is saved meanwhile", "[io]") {
  on_both_kinds_of_file_system([] {
    const ScratchFolder folder;
    const std::string name = folder / "last";
    save(name, "one");
    const moe::FolderReader reader(name, "list.json");
    save(name, "two");
    CHECK(moe::read_file(reader.file("weights")) == "one");
    CHECK(moe::read_file(reader.file("notes")) == "one");
    CHECK(reader.has("list.json"));
    CHECK(!reader.has("other"));
    CHECK(is_sentence(message_of([&] { reader.file("other"); })));
  });
}

TEST_CASE("FolderReader: needs no right to write, and a missing folder has no files", "[io]") {
  const ScratchFolder folder;
  save(folder / "last", "one");
  REQUIRE(::chmod((folder / "last").c_str(), 0555) == 0);
  REQUIRE(::chmod(folder.path().c_str(), 0555) == 0);
  CHECK(content_of(folder / "last") == "one");
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
  REQUIRE(::chmod((folder / "last").c_str(), 0755) == 0);
  CHECK(!moe::FolderReader(folder / "none", "list.json").has("list.json"));
  CHECK(!moe::FolderReader(folder / "last/weights", "list.json").has("list.json"));
}

TEST_CASE("read_settled: reads again when the folder was replaced in the middle", "[io]") {
  const ScratchFolder folder;
  const std::string name = folder / "last";
  save(name, "one");
  int calls = 0;
  const std::string text = moe::read_settled(name, [&](const std::string& path) {
    const std::string first = moe::read_file(path + "/weights");
    if (++calls == 1) save(name, "two");
    return first + moe::read_file(path + "/notes");
  });
  CHECK(text == "twotwo");
  CHECK(calls == 2);
  CHECK(is_sentence(message_of([&] {
    moe::read_settled(name, [](const std::string& path) { return moe::read_file(path + "/x"); });
  })));
}

TEST_CASE("FolderLock: the second is told who holds it, a process that dies releases it", "[io]") {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& what) {
    return message_of([&] { moe::FolderLock second(folder.path(), what); });
  };
  {
    const moe::FolderLock first(folder.path(), "run");
    CHECK(is_sentence(refused("run")));
    CHECK(has(refused("run"), "process " + std::to_string(::getpid())));
    CHECK(refused("study").empty());
  }
  CHECK(refused("run").empty());
  CHECK(names_in(folder.path()).empty());

  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const moe::FolderLock first(folder.path(), "run");
    static_cast<void>(!::write(ready[1], "x", 1));
    for (;;) ::pause();
  }
  char byte;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  CHECK(has(refused("run"), "process " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]), ::close(ready[1]);
  CHECK(refused("run").empty());
  CHECK(is_sentence(message_of([&] { moe::FolderLock lock(folder / "none", "run"); })));
}
