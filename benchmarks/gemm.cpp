// Speed of the CPU backend's products and attention, as a share of the measured FMA peak.
// Names: verb/shape...; counters: GFLOP/s and the share of the peak of as many threads.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <moe/backend/cpu.hpp>
#include <string>
#include <vector>
#if __has_include(<Eigen/Core>)
#include <Eigen/Core>
#define HAS_EIGEN 1
#else
#define HAS_EIGEN 0
#endif

namespace {

using moe::Cpu;

Cpu<float>& backend(int threads) {
  static std::map<int, Cpu<float>> all;
  return all.try_emplace(threads, threads).first->second;
}

double peak(int threads) {
  static std::map<int, double> all;
  const auto at = all.find(threads);
  if (at != all.end()) return at->second;
  return all[threads] = moe::fma_peak_gflops(backend(threads), 0.3);
}

std::vector<float> numbers(std::int64_t n) {
  std::vector<float> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = float(i * 37 % 101) / 50.0f - 1.0f;
  return v;
}

void report(benchmark::State& state, double flops, int threads) {
  const double done = flops * double(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(done * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] =
      benchmark::Counter(done * 1e-9 / peak(threads), benchmark::Counter::kIsRate);
}

enum class Layout { forward, input_gradient, weight_gradient };

/// y = x W^T, dx = dy W, dW = dy^T x: as a linear layer calls the product.
void gemm(benchmark::State& state, Layout layout) {
  const int m = int(state.range(0)), n = int(state.range(1)), k = int(state.range(2)),
            threads = int(state.range(3));
  auto& be = backend(threads);
  const auto a = numbers(std::int64_t(m) * k), b = numbers(std::int64_t(n) * k);
  auto c = numbers(std::int64_t(m) * n);
  using In = moe::Matrix<const float>;
  const In left = layout == Layout::weight_gradient ? In{a.data(), 1, m} : In{a.data(), k};
  const In right = layout == Layout::forward ? In{b.data(), 1, k} : In{b.data(), n};
  const float beta = layout == Layout::weight_gradient ? 1 : 0;
  for (auto _ : state) {
    be.gemm(m, n, k, left, right, c.data(), n, {1, beta});
    benchmark::ClobberMemory();
  }
  report(state, 2.0 * m * n * k, threads);
}

/// Experts with the given share of skew: the first gets `skew` times the tokens of the last.
std::vector<int> offsets(int slots, int experts, double skew) {
  std::vector<int> offset(static_cast<std::size_t>(experts) + 1, 0);
  double total = 0, sum = 0;
  const auto weight = [&](int e) {
    return std::pow(skew, 1 - double(e) / std::max(1, experts - 1));
  };
  for (int e = 0; e < experts; ++e) total += weight(e);
  for (int e = 0; e < experts; ++e) {
    sum += weight(e);
    offset[static_cast<std::size_t>(e) + 1] = int(slots * sum / total);
  }
  return offset;
}

void grouped(benchmark::State& state, bool along_k) {
  const int slots = int(state.range(0)), experts = int(state.range(1)), n = int(state.range(2)),
            k = int(state.range(3)), threads = int(state.range(4));
  auto& be = backend(threads);
  const auto offset = offsets(slots, experts, 4);
  std::vector<int> token(static_cast<std::size_t>(slots));
  for (int i = 0; i < slots; ++i) token[static_cast<std::size_t>(i)] = i * 7 % slots;
  const auto x = numbers(std::int64_t(slots) * k);
  auto weight = numbers(std::int64_t(experts) * n * k), y = numbers(std::int64_t(slots) * n);
  for (auto _ : state) {
    if (along_k) {
      be.grouped_gemm_k(experts, offset.data(), n, k, {y.data(), n}, {x.data(), k, 1, token.data()},
                        weight.data(), k, std::ptrdiff_t(n) * k, {1, 1});
    } else {
      be.grouped_gemm_m(experts, offset.data(), n, k, {x.data(), k, 1, token.data()},
                        {weight.data(), 1, k}, std::ptrdiff_t(n) * k, y.data(), n);
    }
    benchmark::ClobberMemory();
  }
  report(state, 2.0 * slots * n * k, threads);
}

void attention(benchmark::State& state, bool backward, double dropout) {
  const int sequences = int(state.range(0)), length = int(state.range(1)),
            heads = int(state.range(2)), dim = int(state.range(3)), threads = int(state.range(4));
  auto& be = backend(threads);
  const moe::AttentionShape s{sequences, length, length, length,
                              heads,     heads,  dim,    {dropout, 1, 2}};
  const auto q = numbers(std::int64_t(sequences) * length * heads * dim);
  auto out = q, dq = q, dk = q, dv = q;
  std::vector<float> lse(static_cast<std::size_t>(sequences * length * heads));
  be.attention_forward(s, q.data(), q.data(), q.data(), out.data(), lse.data());
  for (auto _ : state) {
    if (backward) {
      be.attention_backward(s, q.data(), q.data(), q.data(), out.data(), q.data(), lse.data(),
                            dq.data(), dk.data(), dv.data());
    } else {
      be.attention_forward(s, q.data(), q.data(), q.data(), out.data(), lse.data());
    }
    benchmark::ClobberMemory();
  }
  const double causal = 2.0 * sequences * heads * length * (length + 1.0) * dim;
  report(state, backward ? 2.5 * causal : causal, threads);
}

#if HAS_EIGEN
void eigen(benchmark::State& state) {
  const int m = int(state.range(0)), n = int(state.range(1)), k = int(state.range(2));
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const RowMajor a = RowMajor::Constant(m, k, 0.5f), b = RowMajor::Constant(n, k, 0.25f);
  RowMajor c = RowMajor::Zero(m, n);
  Eigen::setNbThreads(int(state.range(3)));
  for (auto _ : state) {
    c.noalias() = a * b.transpose();
    benchmark::ClobberMemory();
  }
  report(state, 2.0 * m * n * k, int(state.range(3)));
}
#endif

void for_threads(const std::function<void(int)>& add) {
  add(1);
  if (moe::detail::available_threads() > 1) add(moe::detail::available_threads());
}

void shapes(benchmark::internal::Benchmark* b, std::vector<std::vector<std::int64_t>> all) {
  for_threads([&](int threads) {
    for (std::vector<std::int64_t> shape : all) {
      shape.push_back(threads);
      b->Args(shape);
    }
  });
  b->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::vector<std::int64_t>> linear = {
      {4096, 384, 384}, {4096, 1536, 384}, {4096, 384, 1536}, {1, 1536, 384}, {8, 1536, 384}};
  shapes(benchmark::RegisterBenchmark("gemm/forward", gemm, Layout::forward), linear);
  shapes(benchmark::RegisterBenchmark("gemm/input_gradient", gemm, Layout::input_gradient),
         {{4096, 384, 384}, {4096, 384, 1536}});
  shapes(benchmark::RegisterBenchmark("gemm/weight_gradient", gemm, Layout::weight_gradient),
         {{384, 384, 4096}, {1536, 384, 4096}});
#if HAS_EIGEN
  shapes(benchmark::RegisterBenchmark("eigen/forward", eigen), {{4096, 384, 384}, {1, 1536, 384}});
#endif
  shapes(benchmark::RegisterBenchmark("grouped_gemm_m", grouped, false), {{8192, 8, 1536, 384}});
  shapes(benchmark::RegisterBenchmark("grouped_gemm_k", grouped, true), {{8192, 8, 1536, 384}});
  for (const bool backward : {false, true})
    for (const double dropout : {0.0, 0.1})
      shapes(benchmark::RegisterBenchmark(
                 (std::string("attention/") + (backward ? "backward" : "forward") +
                  (dropout > 0 ? "/dropout" : ""))
                     .c_str(),
                 attention, backward, dropout),
             {{8, 256, 6, 64}, {8, 512, 8, 48}});
  benchmark::Initialize(&argc, argv);
  for_threads([](int threads) {
    std::printf("measured FMA peak, float, threads %d: %.1f GFLOP/s\n", threads, peak(threads));
  });
  benchmark::RunSpecifiedBenchmarks();
}
