// One training step of the char-level Shakespeare MoE (preset `full`: 16 x 256 tokens, AdamW), as a
// rate of the arithmetic that training needs (include/moe/flops.hpp) and as a share of the measured
// FMA peak.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <moe/moe.hpp>

#include "../examples/shakespeare/presets.hpp"

namespace {

constexpr moe::ModelConfig config = shakespeare::full_config;
constexpr int sequences = 16, tokens = sequences * config.context;

double peak(int threads) {
  moe::Cpu<float> backend{threads};
  return moe::fma_peak_gflops(backend, 0.5);
}

void step(benchmark::State& state) {
  const int threads = int(state.range(0));
  moe::Cpu<float> backend{threads};
  moe::Transformer<config, moe::Cpu<float>> model{backend, {.max_tokens = tokens}};
  moe::AdamW optimizer{model};
  std::vector<std::int32_t> text(std::size_t(tokens) + 1);
  for (std::size_t i = 0; i < text.size(); ++i)
    text[i] = std::int32_t(moe::philox(1, 0, i)[0] % unsigned(config.vocab));
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    model.forward({text.data(), text.data() + 1, sequences, config.context});
    model.backward();
    optimizer.step(0.01);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double speed = double(tokens) * double(state.iterations()) / seconds;
  const double gflops = moe::token_flops(config).training() * speed * 1e-9;
  state.counters["tokens/s"] = speed;
  state.counters["GFLOP/s"] = gflops;
  state.counters["of_peak"] = gflops / peak(threads);
}

}  // namespace

BENCHMARK(step)
    ->Name("step/shakespeare_full/threads")
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (const int threads : {1, 2})
    std::printf("fp32 FMA peak on %d thread(s): %.1f GFLOP/s\n", threads, peak(threads));
  benchmark::RunSpecifiedBenchmarks();
}
