#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <moe/backend/cpu.hpp>
#include <moe/backend/cpu/roofline.hpp>
#include <string>
#include <vector>

// Shared by the benchmarks: the limits of the machine are measured beside every benchmark, and
// medians of the shares of these limits are reported. Other programs disturb the machine, but they
// disturb what is measured within the same tenth of a second alike.

namespace bench {

using Cpu = moe::Cpu<float>;
using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// 1, and the number of all threads if there are more.
inline std::vector<int> thread_counts() {
  const int all = moe::detail::available_threads();
  return all > 1 ? std::vector<int>{1, all} : std::vector<int>{1};
}

inline Cpu& backend(int threads) {
  static std::map<int, Cpu> all;
  return all.try_emplace(threads, threads).first->second;
}

/// Numbers in memory that the backend allocates, as those of a model.
template <class T = float>
class Numbers {
 public:
  explicit Numbers(std::ptrdiff_t count, double scale = 1, double middle = 0)
      : memory_(backend(1), std::size_t(std::max<std::ptrdiff_t>(count, 1)) * sizeof(T)) {
    for (std::ptrdiff_t i = 0; i < count; ++i)
      data()[i] = T(middle + scale * (double(i * 37 % 101) / 50.0 - 1.0));
  }
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  operator T*() const { return data(); }

 private:
  moe::Arena<Cpu> memory_;
};

/// What a rate is compared with. `measure` takes a few hundredths of a second and returns the limit
/// in 1e9 a second.
struct Limit {
  const char *unit, *share;  // names of the counters
  std::function<double()> measure;
};

inline Limit fma_peak(int threads) {
  return {"GFLOP/s", "of_peak", [threads] { return moe::fma_peak_gflops(backend(threads), 0.01); }};
}
/// The faster of the instructions that bfloat16 operands may be multiplied with.
inline Limit bf16_peak(int threads) {
  return {"GFLOP/s", "of_peak", [threads] {
            return std::max(moe::bf16_peak_gflops(backend(threads), 0.01),
                            moe::fma_peak_gflops(backend(threads), 0.01));
          }};
}

/// The probe for this size. The last one is kept, because making one takes longer than measuring
/// with it.
inline moe::MemorySpeed<Cpu>& memory(int threads, std::size_t bytes) {
  static std::pair<int, std::size_t> key;
  static std::unique_ptr<moe::MemorySpeed<Cpu>> probe;
  if (!probe || key != std::pair{threads, bytes}) {
    probe.reset();
    probe = std::make_unique<moe::MemorySpeed<Cpu>>(backend(threads), bytes);
    key = {threads, bytes};
  }
  return *probe;
}
inline Limit read_speed(int threads, double bytes) {
  return {"GB/s", "of_bandwidth", [=] { return memory(threads, std::size_t(bytes)).read(0.02); }};
}
inline Limit copy_speed(int threads, double bytes) {
  return {"GB/s", "of_bandwidth", [=] { return memory(threads, std::size_t(bytes)).copy(0.02); }};
}

/// Runs `work` under Google Benchmark (manual time) and reports the median rate of its `amount` and
/// the median share of the limit, which is measured again for every twentieth of a second of work.
/// `prepare` is called before each call of work and is not timed. Returns the median rate, 1e9 a
/// second.
template <class Work, class Prepare>
double measure(benchmark::State& state, double amount, const Limit& limit, const Work& work,
               const Prepare& prepare) {
  prepare();
  work();  // touches everything once
  std::vector<double> rates, shares;
  double before = limit.measure(), seconds = 0;
  int calls = 0;
  const auto close = [&] {
    const double after = limit.measure(), rate = calls * amount / seconds * 1e-9;
    rates.push_back(rate);
    shares.push_back(rate / ((before + after) / 2));
    before = after;
    seconds = 0;
    calls = 0;
  };
  for (auto _ : state) {
    prepare();
    const auto start = Clock::now();
    work();
    benchmark::ClobberMemory();
    const double passed = seconds_since(start);
    state.SetIterationTime(passed);
    seconds += passed;
    ++calls;
    if (seconds > 0.05) close();
  }
  if (rates.empty() && calls > 0) close();
  const double rate = median(rates);
  state.counters[limit.unit] = rate;
  state.counters[limit.share] = median(shares);
  return rate;
}
template <class Work>
double measure(benchmark::State& state, double amount, const Limit& limit, const Work& work) {
  return measure(state, amount, limit, work, [] {});
}

/// Registers work(state, threads) as "name/threads:N" for one and for all threads.
template <class Work>
void add(const std::string& name, const Work& work) {
  for (const int threads : thread_counts())
    benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(),
                                 [=](benchmark::State& state) { work(state, threads); })
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

/// Prints the limits of this machine, before anything else is measured.
inline void print_machine() {
  for (const int threads : thread_counts()) {
    Cpu& be = backend(threads);
    moe::MemorySpeed<Cpu> large{be, std::size_t(1) << 29};
    std::printf(
        "threads:%d  FMA peak, float: %.1f GFLOP/s  dot products, bf16: %.1f GFLOP/s  "
        "512 MiB read: %.1f GB/s, copied: %.1f GB/s\n",
        threads, moe::fma_peak_gflops(be, 0.2), moe::bf16_peak_gflops(be, 0.2), large.read(0.3),
        large.copy(0.3));
  }
}

/// The end of a benchmark's main: prints the limits of the machine, then runs the registered
/// benchmarks.
inline int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  print_machine();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace bench
