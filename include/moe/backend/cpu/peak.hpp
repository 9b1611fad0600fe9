#pragma once
#include <chrono>
#include <moe/backend/cpu/micro_kernel.hpp>
#include <moe/backend/cpu/parallel.hpp>

namespace moe {

/// The fused multiply-add rate all threads of a CPU backend reach together on registers alone:
/// the 100 % that measured speeds are compared with. Runs for about `seconds`.
/// Units: 1e9 floating-point operations per second, a multiply-add being two.
///
///     const double peak = moe::fma_peak_gflops(backend, 0.1);
template <class B>
double fma_peak_gflops(B& backend, double seconds = 0.1) {
  using T = typename B::Value;
  using Pack = detail::Batch<T>;
  using Clock = std::chrono::steady_clock;
  constexpr int chains = 12, rounds = 20000;
  const auto run = [](int repeats) {
    Pack sum[chains];
    detail::unroll<chains>([&](auto i)
                               __attribute__((always_inline)) { sum[i] = Pack(T(1) + T(i)); });
    const Pack factor(T(0.999)), term(T(1e-3));
    for (int r = 0; r < repeats; ++r)
      detail::unroll<chains>([&](auto i) __attribute__((always_inline)) {
        sum[i] = detail::multiply_add<T>(sum[i], factor, term);
      });
    Pack total(T(0));
    detail::unroll<chains>([&](auto i) __attribute__((always_inline)) { total += sum[i]; });
    return detail::horizontal_sum<T>(total);
  };
  const int threads = backend.threads();
  volatile double kept = 0;  // the sums must be wanted, or the loop disappears
  const auto start = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  double best = 0;
  do {
    const double before = passed();
    detail::parallel(threads, threads, [&](int, int worker) {
      const T sum = run(rounds);
      if (worker == 0) kept = kept + double(sum);
    });
    const double flops = 2.0 * threads * rounds * chains * detail::batch_width<T>;
    const double rate = flops / (passed() - before) * 1e-9;
    best = rate > best ? rate : best;
  } while (passed() < seconds);
  return best;
}

}  // namespace moe
