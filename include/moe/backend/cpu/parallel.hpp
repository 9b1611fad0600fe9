#pragma once
#ifdef _OPENMP
#include <omp.h>
#endif

namespace moe::detail {

inline int available_threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// One copy of the code of a task, whoever calls it: inlined into a serial and a parallel loop the
/// compiler would fuse multiply-adds differently, and the bits would depend on the threads.
#if defined(__GNUC__) && !defined(__clang__)
#define MOE_ONE_COPY __attribute__((noinline, noclone))
#else
#define MOE_ONE_COPY __attribute__((noinline))
#endif
template <class F>
MOE_ONE_COPY void run_task(const F& work, int task, int worker) {
  work(task, worker);
}

/// Calls work(task, worker) for every task. Which worker (0 ... threads - 1) runs a task is left
/// open: a result must not depend on it, a workspace may. Also correct, and serial, without OpenMP
/// and where the runtime grants fewer threads.
template <class F>
void parallel([[maybe_unused]] int threads, int tasks, const F& work) {
#ifdef _OPENMP
  if (threads > 1 && tasks > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int task = 0; task < tasks; ++task) run_task(work, task, omp_get_thread_num());
    return;
  }
#endif
  for (int task = 0; task < tasks; ++task) run_task(work, task, 0);
}

}  // namespace moe::detail
#undef MOE_ONE_COPY
