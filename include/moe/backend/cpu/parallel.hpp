#pragma once
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <moe/core/error.hpp>
#include <string>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace moe::inline MOE_ISA::detail {

/// The number of threads OpenMP would use: OMP_NUM_THREADS, or the number of processors that this
/// process may run on.
inline int available_threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// Returns `threads`. For 0 it returns what is available, limited to what the runtime ever grants.
/// Errors: moe::Error for fewer than 0, or for so many that it must be a mistake: each thread costs
/// memory and time.
inline int checked_threads(int threads) {
  int processors = 1, granted = 1;
#ifdef _OPENMP
  processors = omp_get_num_procs();
  granted = std::max(1, omp_get_thread_limit());
#endif
  const int max_threads = std::max(1024, std::min(processors, 1 << 20) * 4);
  const int wanted = threads == 0 ? available_threads() : threads;
  if (wanted < 1 || wanted > max_threads)
    throw Error("cannot compute with ", wanted, " threads",
                (threads == 0 ? " (OMP_NUM_THREADS)" : ""), ": it must be from 1 to ", max_threads,
                ", and there are ", processors,
                " processors; give a smaller number, or 0 for all of them");
  return threads == 0 ? std::min(wanted, granted) : wanted;
}

/// True in a child process that fork() created after its parent had started threads here. Those
/// threads do not exist in the child, and GNU's OpenMP would wait for them forever.
inline std::atomic<bool> threads_left_behind{false};

/// Must be called before threads are started for the first time.
inline void notice_forks() {
  [[maybe_unused]] static const int registered = ::pthread_atfork(
      nullptr, nullptr, [] { threads_left_behind.store(true, std::memory_order_relaxed); });
}

/// Never inlined: a task inlined into both the serial and the parallel loop may get different FMA
/// contraction, and results would depend on the number of threads.
#if defined(__GNUC__) && !defined(__clang__)
#define MOE_ONE_COPY __attribute__((noinline, noclone))
#else
#define MOE_ONE_COPY __attribute__((noinline))
#endif
template <class F>
MOE_ONE_COPY void run_task(const F& work, int task, int worker) {
  work(task, worker);
}

/// Calls kernel(group, r), of which `kernel` is the address, for r = first ... end - 1. Never
/// inlined either: a kernel gives the same bits behind a product and on its own.
template <class Group, class Kernel>
MOE_ONE_COPY void run_rows(const void* kernel, int first, int end) {
  for (int r = first; r < end; ++r) (*static_cast<const Kernel*>(kernel))(Group{}, r);
}

/// Calls work(task, worker) for every task. Any worker (0 ... threads - 1) may run any task: a task
/// may use its worker's workspace, but its result must not depend on the worker. Runs serially
/// without OpenMP and in the child of a fork, and works if the runtime grants fewer threads.
template <class F>
void parallel([[maybe_unused]] int threads, int tasks, const F& work) {
#ifdef _OPENMP
  if (threads > 1 && tasks > 1 && !threads_left_behind.load(std::memory_order_relaxed)) {
    notice_forks();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int task = 0; task < tasks; ++task) run_task(work, task, omp_get_thread_num());
    return;
  }
#endif
  for (int task = 0; task < tasks; ++task) run_task(work, task, 0);
}

}  // namespace moe::detail
#undef MOE_ONE_COPY
