#pragma once
#include <chrono>
#include <moe/backend/cpu/micro_kernel.hpp>
#include <moe/backend/cpu/parallel.hpp>
#include <vector>

namespace moe {

/// The fused multiply-add rate of the threads of a CPU backend on registers alone, all running: the
/// 100 % that measured speeds are compared with. Each thread's best slice counts, so that other
/// programs disturb it little. Runs for about `seconds`.
/// Units: 1e9 floating-point operations per second, a multiply-add being two.
///
///     const double peak = moe::fma_peak_gflops(backend, 0.1);
template <class B>
double fma_peak_gflops(B& backend, double seconds = 0.1) {
  using T = typename B::Value;
  using Pack = detail::Batch<T>;
  using Clock = std::chrono::steady_clock;
  constexpr int chains = 12, rounds = 20000;
  const auto run = [](T first) {
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
  };
  const int threads = backend.threads();
  std::vector<double> best(std::size_t(threads), 0.0);
  detail::parallel(threads, threads, [&](int task, int) {
    volatile T kept = T(1);  // each slice needs the one before, or the compiler drops it
    const auto start = Clock::now();
    double passed = 0;
    do {
      const double before = passed;
      kept = run(kept);
      passed = std::chrono::duration<double>(Clock::now() - start).count();
      const double rate = 2.0 * rounds * chains * detail::batch_width<T> / (passed - before) * 1e-9;
      double& most = best[std::size_t(task)];
      most = rate > most ? rate : most;
    } while (passed < seconds);
  });
  double total = 0;
  for (const double rate : best) total += rate;
  return total;
}

}  // namespace moe
