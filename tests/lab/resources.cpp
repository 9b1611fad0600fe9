#include <sys/stat.h>

#include <cmath>
#include <ctime>
#include <filesystem>
#include <functional>
#include <moe_lab/resources.hpp>

#include "catch.hpp"
#include "started.hpp"

using namespace lab;
using moe::read_file;
using moe::write_file;
using moe::detail::exists;
using moe::test::Environment;
using moe::test::has;
using moe::test::ScratchFolder;
using moe::test::since;

namespace {

using Clock = std::chrono::steady_clock;

std::string script(const ScratchFolder& folder, const std::string& commands) {
  return moe::test::script(folder, commands, "nvidia-smi");
}

/// Waits until is_so() holds, for up to five minutes, as a busy machine may be slow.
bool soon(const std::function<bool()>& is_so) {
  for (const auto start = Clock::now(); since(start) < 300;) {
    if (is_so()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

GpuUse busy(int index, double percent) {
  return {.index = index, .name = "H100", .utilization_percent = percent};
}

bool is_mb(double mb, double mib) {
  return std::abs(mb - mib * 1.048576) < 1e-6;
}

}  // namespace

TEST_CASE("parse_gpu_use: a line of nvidia-smi for each GPU", "[external]") {
  const std::vector<GpuUse> gpus = parse_gpu_use(
      "0, NVIDIA H100 80GB HBM3, 93, 4100, 81559, 41\n"
      "1, NVIDIA H100 80GB HBM3, 0, 0, 81559, 30\r\n");
  REQUIRE(gpus.size() == 2);
  CHECK(gpus[0].index == 0);
  CHECK(gpus[0].name == "NVIDIA H100 80GB HBM3");
  CHECK(gpus[0].utilization_percent == 93);
  CHECK(is_mb(gpus[0].memory_used_mb, 4100));
  CHECK(is_mb(gpus[0].memory_total_mb, 81559));
  CHECK(gpus[0].temperature_c == 41);
  CHECK(gpus[1].index == 1);
  CHECK(gpus[1].utilization_percent == 0);
  CHECK(gpus[1].memory_used_mb == 0);
  CHECK(gpus[1].temperature_c == 30);
}

TEST_CASE("parse_gpu_use: what the driver does not tell is NaN, odd spaces and names do no harm",
          "[edge]") {
  const std::vector<GpuUse> gpus = parse_gpu_use(
      "  3 ,  Tesla T4, rev. 2 , [N/A],[Not Supported] , [Unknown Error],   ERR!\n"
      "4, Orin, nan, -5, 1e999, 12 W");
  REQUIRE(gpus.size() == 2);
  CHECK(gpus[0].index == 3);
  CHECK(gpus[0].name == "Tesla T4, rev. 2");
  CHECK(gpus[1].name == "Orin");
  for (const GpuUse& gpu : gpus) {
    CHECK(std::isnan(gpu.utilization_percent));
    CHECK(std::isnan(gpu.memory_used_mb));
    CHECK(std::isnan(gpu.memory_total_mb));
    CHECK(std::isnan(gpu.temperature_c));
  }
}

TEST_CASE("parse_gpu_use: lines that are no GPU are left out", "[edge]") {
  CHECK(parse_gpu_use("").empty());
  CHECK(parse_gpu_use("\n\n").empty());
  CHECK(parse_gpu_use("No devices were found\n").empty());
  CHECK(parse_gpu_use("NVIDIA-SMI has failed, because, it, could, not, communicate\n").empty());
  CHECK(parse_gpu_use("0, H100, 1, 2, 3\n").empty());
  CHECK(parse_gpu_use("-1, H100, 1, 2, 3, 4\n").empty());
  CHECK(parse_gpu_use("garbage\n0, H100, 1, 2, 3, 4\ngarbage").size() == 1);
}

TEST_CASE("GPUs: those hidden by CUDA_VISIBLE_DEVICES do not count", "[edge]") {
  const std::vector<GpuUse> four = {busy(0, 1), busy(1, 2), busy(2, 3), busy(3, 4)};
  const auto indices = [&](const char* visible) {
    std::string text;
    for (const GpuUse& gpu : detail::visible_gpus(four, visible)) {
      text += std::to_string(gpu.index);
    }
    return text;
  };
  CHECK(indices(nullptr) == "0123");
  CHECK(indices("") == "");
  CHECK(indices("-1") == "");
  CHECK(indices("2") == "2");
  CHECK(indices("3, 1") == "13");
  CHECK(indices("1,7") == "1");
  CHECK(indices("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6") == "0123");
}

TEST_CASE("all_gpus: what is unknown is not added", "[edge]") {
  CHECK(std::isnan(all_gpus({}).utilization_percent));
  CHECK(std::isnan(all_gpus({}).memory_used_mb));
  const GpuUse all = all_gpus({{0, "a", 90, 1000, 4000, 50},
                               {1, "a", unknown, unknown, 4000, 60},
                               {2, "a", 30, 500, 4000, unknown}});
  CHECK(all.utilization_percent == 60);
  CHECK(all.memory_used_mb == 1500);
  CHECK(all.memory_total_mb == 12000);
  CHECK(all.temperature_c == 60);
}

TEST_CASE("describe: one line for people", "[identity]") {
  Resources use{187.4, 812.3, 900, {}};
  CHECK(describe(use) == "cpu 187 %, 812 MB");
  use.gpus = {{0, "H100", 93, 4100, 80000, 41}};
  CHECK(describe(use) == "cpu 187 %, 812 MB, gpu 93 % 4.1/80.0 GB 41 C");
  use.gpus.push_back({1, "H100", 89, 4300, 80000, 41});
  CHECK(describe(use) == "cpu 187 %, 812 MB, 2 gpus 91 % 8.4/160.0 GB 41 C");
  CHECK(describe(Resources{5, 0, 0, {}}) == "cpu 5 %");
  CHECK(describe(Resources{5, 1, 1, {{}}}) == "cpu 5 %, 1 MB, gpu");
  CHECK(describe(Resources{5, 1, 1, {{0, "a", unknown, 2000, unknown, unknown}}}) ==
        "cpu 5 %, 1 MB, gpu 2.0 GB");
  CHECK(describe(Resources{5, 1, 1, {{0, "a", 0, unknown, 9000, unknown}}}) ==
        "cpu 5 %, 1 MB, gpu 0 %");
  CHECK(describe(Resources{5, 1, 1, {{0, "a", 0, unknown, unknown, 0}}}) ==
        "cpu 5 %, 1 MB, gpu 0 % 0 C");
}

TEST_CASE("describe: warns of the GPU that is farthest from the others", "[edge]") {
  const auto line = [](std::vector<GpuUse> gpus) { return describe({100, 1, 1, std::move(gpus)}); };
  CHECK(has(line({busy(0, 90), busy(1, 92), busy(5, 12), busy(6, 91)}),
            ", uneven GPUs: GPU 5 12 %, the others 91 %"));
  CHECK(has(line({busy(0, 0), busy(1, 0), busy(2, 40)}), "GPU 2 40 %, the others 0 %"));
  CHECK(has(line({busy(0, 90), busy(1, 59)}), "uneven GPUs"));
  CHECK_FALSE(has(line({busy(0, 90), busy(1, 60)}), "uneven"));
  CHECK_FALSE(has(line({busy(0, 90), busy(1, unknown)}), "uneven"));
  CHECK(has(line({busy(0, unknown), busy(1, 90), busy(2, 10)}), "uneven GPUs: GPU 1"));
  CHECK_FALSE(has(line({busy(0, 5)}), "uneven"));
}

TEST_CASE("ResourceMonitor: sees the work of every thread", "[identity]") {
  const auto before = Clock::now();
  const std::clock_t cpu = std::clock();
  const auto used = [&] { return double(std::clock() - cpu) / CLOCKS_PER_SEC; };
  ResourceMonitor monitor("");
  const auto start = Clock::now();
  const double used_at_start = used();
  std::thread other([&] {
    while (used() < 0.3) {
    }
  });
  other.join();
  // The measured rate must lie between bounds that are computed before and after the sample,
  // however long this thread had to wait between two lines.
  const double least = used() - used_at_start, shortest = since(start);
  const double percent = monitor.sample().cpu_percent;
  CHECK(percent > 100 * (least - 0.02) / since(before));
  CHECK(percent < 100 * (used() + 0.02) / shortest);
  const auto in_one_breath = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto first = Clock::now();
    const double one = monitor.sample().cpu_percent, next = monitor.sample().cpu_percent;
    if (since(first) >= 0.005) return false;
    CHECK(one == next);  // too soon for a new measurement
    return true;
  };
  CHECK(soon(in_one_breath));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(monitor.sample().cpu_percent < 5);
}

TEST_CASE("ResourceMonitor: sees the memory of this process", "[identity]") {
  ResourceMonitor monitor("");
  const Resources before = monitor.sample();
  CHECK(before.memory_mb > 1);
  CHECK(before.memory_mb <= before.peak_memory_mb);
  CHECK(before.gpus.empty());
  {
    const std::string block(64'000'000, 'x');
    const Resources during = monitor.sample();
    CHECK(during.memory_mb > before.memory_mb + 50);
    CHECK(during.memory_mb < before.memory_mb + 1000);  // a sanitizer adds its own
    CHECK(block.back() == 'x');
  }
  CHECK(monitor.sample().peak_memory_mb > before.memory_mb + 50);
}

TEST_CASE("ResourceMonitor: shows what nvidia-smi says", "[io]") {
  const ScratchFolder folder;
  const Environment visible("CUDA_VISIBLE_DEVICES", nullptr);
  const std::string seen = folder / "arguments";
  const std::string program =
      script(folder, "echo \"$@\" >>" + seen + "\necho '0, H100, 93, 4100, 81559, 41'\n" +
                         "echo '1, H100, [N/A], 7, 81559, 42'\necho noise >&2");
  ResourceMonitor monitor(program);
  std::vector<GpuUse> gpus;
  REQUIRE(soon([&] { return (gpus = monitor.sample().gpus).size() == 2; }));
  CHECK(gpus[0].utilization_percent == 93);
  CHECK(std::isnan(gpus[1].utilization_percent));
  CHECK(gpus[1].temperature_c == 42);
  CHECK(read_file(seen).rfind(
            "--query-gpu=index,name,utilization.gpu,memory.used,memory.total,temperature.gpu "
            "--format=csv,noheader,nounits\n",
            0) == 0);
}

TEST_CASE("ResourceMonitor: asks again, and finds nvidia-smi on PATH", "[io]") {
  const ScratchFolder folder;
  const std::string tools = std::getenv("PATH");
  script(folder, "date +%s >>" + (folder / "calls") + "\necho \"0, H100, $(wc -l <" +
                     (folder / "calls") + "), 1, 2, 3\"");
  REQUIRE(::mkdir((folder / "first").c_str(), 0700) == 0);
  REQUIRE(::mkdir((folder / "first/nvidia-smi").c_str(), 0700) == 0);  // a folder is no program
  const Environment visible("CUDA_VISIBLE_DEVICES", "0");
  const Environment path("PATH",
                         (":" + (folder / "first") + ":" + folder.path() + ":" + tools).c_str());
  ResourceMonitor monitor;  // a pause of two seconds
  const auto call = [&](double n) {
    return soon([&] {
      const Resources use = monitor.sample();
      return !use.gpus.empty() && use.gpus[0].utilization_percent >= n;
    });
  };
  CHECK(call(1));
  CHECK(call(2));
  long long first = 0, second = 0;
  REQUIRE(std::sscanf(read_file(folder / "calls").c_str(), "%lld %lld", &first, &second) == 2);
  CHECK(second - first >= 1);
}

TEST_CASE("ResourceMonitor: a hanging nvidia-smi delays nobody and is killed", "[edge]") {
  const ScratchFolder folder;
  const std::string begun = folder / "begun", go = folder / "go", late = folder / "late";
  // The script starts a process that writes `late` as soon as `go` exists, at a time when both
  // should be dead.
  const std::string program =
      script(folder, "(for i in $(seq 600); do test -e " + go + " && echo >" + late +
                         " && exit; sleep 0.1; done) &\necho >" + begun + "\nsleep 60");
  // If the script is killed at once, the shortest of several tries is short. A wait for the end of
  // the script, or for the five seconds that an answer may take, would lengthen all of them.
  double shortest = 100;
  for (int tries = 0; tries < 5 && shortest > 2; ++tries) {
    std::filesystem::remove(begun);
    Clock::time_point end;
    {
      ResourceMonitor monitor(program);
      REQUIRE(soon([&] { return exists(begun); }));
      const auto start = Clock::now();
      for (int i = 0; i < 10; ++i) CHECK(monitor.sample().gpus.empty());
      CHECK(since(start) < 30);  // ten waits for an answer would be fifty
      end = Clock::now();
    }
    shortest = std::min(shortest, since(end));
  }
  CHECK(shortest <= 2);
  write_file(go, "");
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  CHECK_FALSE(exists(late));  // what the script started is dead too
}

TEST_CASE("ResourceMonitor: a failing nvidia-smi is ignored", "[edge]") {
  const ScratchFolder folder;
  const std::string program =
      script(folder, "echo x >>" + (folder / "calls") + "\necho '0, H100, 1, 2, 3, 4'\nexit 9");
  const std::chrono::milliseconds pause(100);
  ResourceMonitor failing(program, pause), missing(folder / "none", pause);
  const std::string calls = "x\nx\nx\n";
  CHECK(soon([&] { return exists(folder / "calls") && read_file(folder / "calls") == calls; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  CHECK(read_file(folder / "calls") == calls);  // the third time was the last
  CHECK(failing.sample().gpus.empty());
  CHECK(missing.sample().gpus.empty());
}

TEST_CASE("ResourceMonitor: a GPU that is lost is no longer shown", "[edge]") {
  const ScratchFolder folder;
  const Environment visible("CUDA_VISIBLE_DEVICES", nullptr);
  const std::string program =
      script(folder, "test -e " + (folder / "lost") + " || echo '0, H100, 1, 2, 3, 4'");
  ResourceMonitor monitor(program, std::chrono::milliseconds(50));
  REQUIRE(soon([&] { return monitor.sample().gpus.size() == 1; }));
  write_file(folder / "lost", "");
  CHECK(soon([&] { return monitor.sample().gpus.empty(); }));
}
