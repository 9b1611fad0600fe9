#include <csignal>
#include <moe_lab/process.hpp>

#include "catch.hpp"
#include "started.hpp"

using lab::Output;
using lab::output_of;
using moe::read_file;
using moe::detail::Descriptor;
using moe::test::Environment;
using moe::test::ScratchFolder;
using moe::test::script;
using moe::test::since;

TEST_CASE("run: the exit code of a program that is found on PATH", "[process]") {
  CHECK(lab::run({"true"}, Output::hidden) == 0);
  CHECK(lab::run({"sh", "-c", "exit 7"}, Output::hidden) == 7);
  CHECK(lab::run({"sh", "-c", "kill -9 $$"}, Output::hidden) == -1);
  CHECK(lab::run({"no-such-program"}, Output::hidden) == -1);
  CHECK(lab::run({"sh", "-c", "exit $#", "sh", "one word", "$HOME"}, Output::hidden) == 2);
}

TEST_CASE("run: its standard input is empty, its output is shown or not", "[process]") {
  const ScratchFolder folder;
  const std::string shown = folder / "shown", program = script(folder, "cat; echo said", "program");
  const auto output = [&](Output how) {
    const int before = ::dup(1);
    const int file = ::open(shown.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    ::dup2(file, 1);
    const int code = lab::run({program}, how);
    ::dup2(before, 1);
    ::close(before), ::close(file);
    CHECK(code == 0);
    return read_file(shown);
  };
  CHECK(output(Output::shown) == "said\n");
  CHECK(output(Output::hidden).empty());
}

TEST_CASE("run: a program that takes too long is killed", "[process]") {
  const auto start = std::chrono::steady_clock::now();
  CHECK(lab::run({"sleep", "600"}, Output::hidden, std::chrono::milliseconds(300)) == -1);
  CHECK(since(start) > 0.25);
  CHECK(since(start) < 300);
}

TEST_CASE("run: no signal is blocked in what is started", "[process]") {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int code = lab::run({"sh", "-c", "kill -TERM $$; exit 3"}, Output::hidden);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  CHECK(code == -1);
}

TEST_CASE("run: where SIGCHLD is ignored nobody knows how a program ended", "[process]") {
  const auto before = std::signal(SIGCHLD, SIG_IGN);
  const int code = lab::run({"sh", "-c", "exit 7"}, Output::hidden);
  std::signal(SIGCHLD, before);
  CHECK(code == 0);
}

TEST_CASE("find_program: the first executable file on PATH", "[process]") {
  const ScratchFolder folder;
  script(folder, "", "tool");
  REQUIRE(::mkdir((folder / "first").c_str(), 0700) == 0);
  REQUIRE(::mkdir((folder / "first/tool").c_str(), 0700) == 0);  // a folder is no program
  const Environment path("PATH", (":" + (folder / "first") + ":" + folder.path()).c_str());
  CHECK(lab::find_program("tool") == folder / "tool");
  CHECK(lab::find_program("no-such-program").empty());
}

TEST_CASE("output_of: a program that is too slow, fails or is missing gives nothing", "[edge]") {
  const ScratchFolder folder;
  int never[2];
  REQUIRE(::pipe(never) == 0);
  const Descriptor stop(never[0]), open_end(never[1]);
  const auto output = [&](const std::string& commands,
                          std::chrono::milliseconds limit = std::chrono::seconds(300)) {
    return output_of({script(folder, commands, "program")}, limit, stop.get());
  };
  const std::chrono::milliseconds soon_over(700);
  CHECK(output("echo fine") == "fine\n");
  CHECK(output("echo almost; exit 9") == "");
  CHECK(output("echo almost; kill -9 $$") == "");
  CHECK(output("cat") == "");  // no terminal or pipe to read from
  CHECK(output("head -c 100000 /dev/zero").size() == 100000);
  const auto start = std::chrono::steady_clock::now();
  CHECK(output("echo begun; sleep 60", soon_over) == "");
  CHECK(output("exec 2>&-; echo closed; exec >&-; sleep 60", soon_over) == "");
  CHECK(output("while :; do echo endless; done", soon_over) == "");
  CHECK(since(start) < 50);  // less than a wait for one of them
  CHECK(output_of({folder / "none"}, std::chrono::seconds(5), stop.get()) == "");
  CHECK(output("echo fine") == "fine\n");
}
