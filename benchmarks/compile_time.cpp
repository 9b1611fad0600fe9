// Compiles examples/train_text.cpp at -O2 with the compiler of this build, for any machine and for
// this one, and measures wall time, processor time and peak memory.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

// CMake defines these. Without it this file is only checked for errors.
#ifndef MOE_COMPILER
#define MOE_COMPILER "c++"
#define MOE_COMPILE_FLAGS "compile_time_flags.txt"
#define MOE_SUBJECT "examples/train_text.cpp"
#endif

namespace {

void train_text(benchmark::State& state, const char* target) {
  double processor = 0, memory = 0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    const pid_t child = fork();
    if (child == 0) {
      const std::string flags = std::string("@") + MOE_COMPILE_FLAGS;
      execlp(MOE_COMPILER, MOE_COMPILER, flags.c_str(), "-O2", target, "-c", MOE_SUBJECT, "-o",
             "/dev/null", static_cast<char*>(nullptr));
      _exit(127);
    }
    int status = 0;
    rusage usage{};
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0) {
      state.SkipWithError("the compiler did not compile " MOE_SUBJECT);
      return;
    }
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    const auto seconds = [](const timeval& t) {
      return double(t.tv_sec) + 1e-6 * double(t.tv_usec);
    };
    processor += seconds(usage.ru_utime) + seconds(usage.ru_stime);
    memory = std::max(memory, double(usage.ru_maxrss) * 1024);
  }
  state.counters["processor_s"] = processor / double(state.iterations());
  state.counters["peak_GB"] = memory * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  const std::pair<const char*, const char*> targets[] = {
      {"compile_time/train_text/any", "-DNDEBUG"},
      {"compile_time/train_text/native", "-march=native"}};
  for (const auto& [name, target] : targets)
    benchmark::RegisterBenchmark(name, train_text, target)
        ->UseManualTime()
        ->Iterations(1)
        ->Repetitions(3)
        ->ReportAggregatesOnly()
        ->Unit(benchmark::kSecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  std::printf("compiler: %s, %s\n", MOE_COMPILER, __VERSION__);
  benchmark::RunSpecifiedBenchmarks();
}
