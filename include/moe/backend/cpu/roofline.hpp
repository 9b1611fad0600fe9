#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <moe/backend/cpu/gemm/micro_kernel.hpp>
#include <moe/backend/cpu/memory.hpp>
#include <moe/backend/cpu/parallel.hpp>
#include <vector>

namespace moe::inline MOE_ISA {

namespace detail {

/// Runs `slice` repeatedly on every thread for about `seconds`. Returns the median rate of a slice,
/// summed over threads, in units of 1e9 * `amount` per second. Median, not best: the benchmark that
/// it is compared with suffers the same interference from other programs. Each slice takes the
/// result of the previous one, so that the compiler cannot remove it.
template <class T, class Slice>
double median_rate(int threads, double seconds, double amount, const Slice& slice) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::vector<double>> rates;
  rates.resize(std::size_t(threads));
  parallel(threads, threads, [&](int task, int) {
    volatile T kept = T(1);
    const auto start = Clock::now();
    double passed = 0;
    do {
      const double before = passed;
      kept = slice(kept);
      passed = std::chrono::duration<double>(Clock::now() - start).count();
      rates[std::size_t(task)].push_back(amount / (passed - before) * 1e-9);
    } while (passed < seconds);
  });
  double total = 0;
  for (std::vector<double>& of_thread : rates) {
    const auto middle = of_thread.begin() + std::ptrdiff_t(of_thread.size() / 2);
    std::nth_element(of_thread.begin(), middle, of_thread.end());
    total += *middle;
  }
  return total;
}

}  // namespace detail

/// The FMA rate of the backend's threads, all running, with registers as the only operands: the 100
/// % that measured speeds are compared with. Runs for about `seconds`.
/// Units: 1e9 floating-point operations per second; a multiply-add counts as two.
///
///     const double peak = moe::fma_peak_gflops(backend, 0.1);
template <class B>
double fma_peak_gflops(B& backend, double seconds = 0.1) {
  using T = typename B::Wide;
  using Pack = detail::Register<T>;
  constexpr int chains = 12, rounds = 20000;
  constexpr double flops = 2.0 * rounds * chains * detail::batch_width<T>;
  return detail::median_rate<T>(backend.threads(), seconds, flops, [](T first) {
    Pack sum[chains];
    detail::unroll<chains>([&](auto i)
                               __attribute__((always_inline)) { sum[i] = Pack(first + T(i)); });
    const Pack factor(T(0.999)), term(T(1e-3));
    for (int r = 0; r < rounds; ++r)
      detail::unroll<chains>([&](auto i) __attribute__((always_inline)) {
        sum[i] = detail::multiply_add<T>(sum[i], factor, term);
      });
    Pack total(T(0));
    detail::unroll<chains>([&](auto i) __attribute__((always_inline)) { total += sum[i]; });
    return detail::horizontal_sum<T>(total);
  });
}

/// The same rate for dot products of bfloat16 pairs with sums in float. 0 if the processor that
/// this is compiled for has no instruction for them.
template <class B>
double bf16_peak_gflops([[maybe_unused]] B& backend, [[maybe_unused]] double seconds = 0.1) {
#ifdef __AVX512BF16__
  constexpr int chains = 12, rounds = 20000;
  constexpr double flops = 4.0 * rounds * chains * 16;
  return detail::median_rate<float>(backend.threads(), seconds, flops, [](float first) {
    detail::Register<float> sum[chains];
    detail::unroll<chains>([&](auto i) __attribute__((always_inline)) {
      sum[i] = detail::Register<float>(first + float(i));
    });
    const __m512i ones = _mm512_set1_epi16(0x3F80);
    const __m512bh factor = reinterpret_cast<const __m512bh&>(ones);
    for (int r = 0; r < rounds; ++r)
      detail::unroll<chains>([&](auto i) __attribute__((always_inline)) {
        sum[i] = _mm512_dpbf16_ps(sum[i], factor, factor);
      });
    detail::Register<float> total(0.0f);
    detail::unroll<chains>([&](auto i) __attribute__((always_inline)) { total += sum[i]; });
    return detail::horizontal_sum<float>(total);
  });
#else
  return 0;
#endif
}

/// The rate at which the backend's threads stream through `bytes` of memory, from whichever cache
/// level holds that much: the 100 % for work with operands of this size.
/// Units: 1e9 bytes per second; a copy counts the bytes it reads and those it writes.
/// Errors: moe::Error if there is not enough memory.
///
///     moe::MemorySpeed memory{backend, std::size_t(1) << 30};
///     const double bandwidth = memory.read();
template <class B>
class MemorySpeed {
 public:
  MemorySpeed(B& backend, std::size_t bytes)
      : backend_(&backend), count_(std::max(bytes / line / 2, std::size_t(1)) * 2) {
    space_.reserve(count_ * line);
  }

  /// Reads each byte once.
  double read(double seconds = 0.05) {
    return best(seconds, count_, [](const Pack* from, Pack*, std::size_t packs) {
      Pack sum[4] = {Pack(0.0f), Pack(0.0f), Pack(0.0f), Pack(0.0f)};
      for (std::size_t i = 0; i < packs; i += 4)
        for (std::size_t j = 0; j < 4; ++j) sum[j] += from[i + j];
      return detail::horizontal_sum<float>((sum[0] + sum[1]) + (sum[2] + sum[3]));
    });
  }

  /// Copies the first half to the second through registers, as a kernel does.
  double copy(double seconds = 0.05) {
    return best(seconds, count_ / 2, [](const Pack* from, Pack* to, std::size_t packs) {
      for (std::size_t i = 0; i < packs; i += 4)
        for (std::size_t j = 0; j < 4; ++j) to[i + j] = from[i + j];
      return 0.0f;
    });
  }

 private:
  using Pack = detail::Register<float>;
  static constexpr std::size_t line = 4 * sizeof(Pack);

  /// The best of many rounds. In a round every thread runs `pass` on its share of the first `lines`
  /// lines.
  template <class Pass>
  double best(double seconds, std::size_t lines, const Pass& pass) {
    using Clock = std::chrono::steady_clock;
    const int threads = backend_->threads();
    const double bytes = double(count_ * line);
    const int passes = std::max(1, int(16e6 / bytes));  // so that waking the threads costs little
    Pack* const from = space_.template as<Pack>();
    Pack* const to = from + count_ / 2 * 4;
    std::vector<float> sums(std::size_t(threads) * 16);
    double best = 0, passed = 0;
    const auto start = Clock::now();
    for (int round = 0; round < 3 || passed < seconds; ++round) {
      const double before = passed;
      detail::parallel(threads, threads, [&](int task, int) {
        const std::size_t first = lines * std::size_t(task) / std::size_t(threads) * 4;
        const std::size_t end = lines * std::size_t(task + 1) / std::size_t(threads) * 4;
        volatile float* const kept = &sums[std::size_t(task) * 16];
        for (int i = 0; i < passes; ++i) *kept = pass(from + first, to + first, end - first);
      });
      passed = std::chrono::duration<double>(Clock::now() - start).count();
      best = std::max(best, bytes * passes / (passed - before) * 1e-9);
    }
    return best;
  }

  B* backend_;
  std::size_t count_;  // lines of four registers, an even number
  detail::Workspace space_;
};

}  // namespace moe
