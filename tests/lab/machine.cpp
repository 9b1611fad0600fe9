#include <sys/resource.h>

#include <moe/io/files.hpp>
#include <moe_lab/machine.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"
#include "skip.hpp"

using lab::available_memory;
using lab::AvailableMemory;
using lab::require_memory;
using moe::Error;
using moe::test::has;
using moe::test::ScratchFolder;

namespace {

/// A root folder with the files of a machine that has 8 GB free.
struct Machine {
  ScratchFolder folder;

  Machine() { write("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n"); }
  void write(const std::string& name, const std::string& text) const {
    const std::string path = folder / name;
    moe::make_folders(path.substr(0, path.rfind('/')));
    moe::write_file(path, text);
  }
  AvailableMemory memory() const { return available_memory(folder.path()); }
};

constexpr std::uint64_t free_bytes = 8'000'000ull * 1024;

}  // namespace

TEST_CASE("available_memory: what the machine has free", "[machine]") {
  const Machine machine;
  CHECK(machine.memory().bytes == free_bytes);
  CHECK(has(machine.memory().limit, "free memory"));
}

TEST_CASE("available_memory: what is unknown limits nothing", "[machine]") {
  const ScratchFolder empty;
  CHECK(available_memory(empty.path()).bytes == UINT64_MAX);
  CHECK_NOTHROW(require_memory(1ull << 60, "x", "y", available_memory(empty.path())));
}

TEST_CASE("available_memory: control groups of version 2, and those above", "[machine]") {
  const Machine machine;
  const std::string group = "sys/fs/cgroup/user/job";
  machine.write("proc/self/cgroup", "0::/user/job\n");
  machine.write(group + "/memory.max", "max\n");
  machine.write(group + "/memory.current", "100\n");
  CHECK(machine.memory().bytes == free_bytes);
  machine.write(group + "/memory.max", "400000000\n");
  machine.write(group + "/memory.current", "300000000\n");
  CHECK(machine.memory().bytes == 100'000'000);
  CHECK(has(machine.memory().limit, "control group"));
  machine.write(group + "/memory.stat", "anon 1\ninactive_file 250000000\n");  // can be dropped
  CHECK(machine.memory().bytes == 350'000'000);
  machine.write("sys/fs/cgroup/user/memory.max", "200000000\n");
  machine.write("sys/fs/cgroup/user/memory.current", "500000000\n");  // above: the limit fell
  CHECK(machine.memory().bytes == 0);
}

TEST_CASE("available_memory: a container sees its own group as the root", "[machine]") {
  const Machine machine;
  machine.write("sys/fs/cgroup/memory.max", "400000000\n");
  for (const char* path : {"0::/\n", "0::/docker/0123\n", "0::/../other\n"}) {
    machine.write("proc/self/cgroup", path);
    CHECK(machine.memory().bytes == 400'000'000);
  }
}

TEST_CASE("available_memory: control groups of version 1", "[machine]") {
  const Machine machine;
  machine.write("proc/self/cgroup", "12:cpu,cpuacct:/a\n7:memory:/docker/0123\n0::/system\n");
  const std::string group = "sys/fs/cgroup/memory";
  machine.write(group + "/memory.limit_in_bytes", "9223372036854771712\n");  // none
  CHECK(machine.memory().bytes == free_bytes);
  machine.write(group + "/memory.limit_in_bytes", "400000000\n");
  machine.write(group + "/memory.usage_in_bytes", "150000000\n");
  machine.write(group + "/memory.stat", "total_inactive_file 50000000\n");
  CHECK(machine.memory().bytes == 300'000'000);
}

TEST_CASE("available_memory: a limit of address space", "[machine]") {
  if (moe::test::sanitized)
    return moe::test::skip("a sanitizer needs more address space than the limit");
  const Machine machine;
  machine.write("proc/self/status", "Name: x\nVmSize:\t  200000 kB\nVmData:\t 1 kB\n");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  rlimit limited = before;
  limited.rlim_cur = 1ull << 32;
  REQUIRE(::setrlimit(RLIMIT_AS, &limited) == 0);
  const AvailableMemory found = machine.memory();
  ::setrlimit(RLIMIT_AS, &before);
  CHECK(found.bytes == (1ull << 32) - 200'000ull * 1024);
  CHECK(has(found.limit, "ulimit -v"));
}

TEST_CASE("require_memory: what does not fit is told with both numbers", "[machine]") {
  const AvailableMemory little{.bytes = 400'000'000, .limit = "some limit"};
  CHECK_NOTHROW(require_memory(300'000'000, "train", "use less", little));
  try {
    require_memory(673'000'000, "train this model", "use a smaller batch", little);
    FAIL("it was accepted");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) ==
          "moe: cannot train this model: it needs 673.0 MB and 32.0 MB for the process itself, and "
          "400.0 MB can be had (some limit); use a smaller batch");
  }
  CHECK_THROWS_AS(require_memory(UINT64_MAX, "x", "y", little), Error);
  CHECK_THROWS_AS(require_memory(0, "x", "y", {.bytes = 1000, .limit = "z"}), Error);
}
