#pragma once
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <moe/io/descriptor.hpp>
#include <moe_lab/format.hpp>
#include <moe_lab/gpu_use.hpp>
#include <moe_lab/machine.hpp>
#include <moe_lab/process.hpp>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace lab {

/// What this process uses. Units: 100 % = one core; MB = 1e6 bytes. Unknown values are NaN.
struct Resources {
  double cpu_percent = unknown;  // since the previous sample
  double memory_mb = unknown, peak_memory_mb = unknown;
  std::vector<GpuUse> gpus = {};
};

namespace detail {

/// A line of /proc/self/status in MB, or NaN.
inline double status_mb(std::string_view key) {
  const auto kib = number_in("/proc/self/status", key);
  return kib ? double(*kib) * 1024e-6 : unknown;
}

}  // namespace detail

/// One line: "cpu 187 %, 812 MB, gpu 93 % 4.1/80.0 GB 61 C", and, if one of several GPUs is more
/// than 30 points away from the mean of the others, "uneven GPUs: GPU 3 12 %, the others 91 %".
inline std::string describe(const Resources& use) {
  std::string line =
      std::isnan(use.cpu_percent) ? "cpu unknown" : format("cpu %.0f %%", use.cpu_percent);
  if (use.memory_mb > 0) line += format(", %.0f MB", use.memory_mb);
  if (use.gpus.empty()) return line;
  const GpuUse all = all_gpus(use.gpus);
  line += use.gpus.size() == 1 ? ", gpu" : format(", %zu gpus", use.gpus.size());
  const auto is_known = [](double x) { return !std::isnan(x); };
  if (is_known(all.utilization_percent)) line += format(" %.0f %%", all.utilization_percent);
  if (is_known(all.memory_used_mb)) {
    line += format(" %.1f", all.memory_used_mb * 1e-3);
    if (is_known(all.memory_total_mb)) line += format("/%.1f", all.memory_total_mb * 1e-3);
    line += " GB";
  }
  if (is_known(all.temperature_c)) line += format(" %.0f C", all.temperature_c);
  double others = 0;
  if (const int i = detail::uneven_gpu(use.gpus, others); i >= 0) {
    const GpuUse& gpu = use.gpus[std::size_t(i)];
    line += format(", uneven GPUs: GPU %d %.0f %%, the others %.0f %%", gpu.index,
                   gpu.utilization_percent, others);
  }
  return line;
}

/// Measures this process and, if nvidia-smi works, the GPUs that CUDA_VISIBLE_DEVICES leaves to it.
/// A background thread runs nvidia-smi every 2 s, waits at most 5 s for its answer, and stops after
/// 3 failures in a row. Without nvidia-smi there is no thread. Missing measurements are no errors.
/// Test: tests/lab/resources.cpp.
///
///     lab::ResourceMonitor monitor;
///     std::puts(describe(monitor.sample()).c_str());
class ResourceMonitor {
 public:
  ResourceMonitor() : ResourceMonitor(find_program("nvidia-smi")) {}

  /// Runs the program `nvidia_smi` for the GPUs; "": no GPUs are measured.
  explicit ResourceMonitor(const std::string& nvidia_smi,
                           std::chrono::milliseconds pause = std::chrono::seconds(2)) {
    int ends[2];
    if (nvidia_smi.empty() || ::pipe(ends) != 0) return;
    for (const int end : ends) ::fcntl(end, F_SETFD, FD_CLOEXEC);
    stopped_ = moe::detail::Descriptor(ends[0]);
    stop_ = moe::detail::Descriptor(ends[1]);
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    const bool all = visible == nullptr;
    // The new thread inherits a mask that blocks all signals, so that they reach the training
    // thread.
    sigset_t every, before;
    ::sigfillset(&every);
    ::pthread_sigmask(SIG_SETMASK, &every, &before);
    try {
      thread_ = std::thread([this, nvidia_smi, pause, all, list = std::string(all ? "" : visible)] {
        watch(nvidia_smi, pause, all ? nullptr : list.c_str());
      });
    } catch (const std::system_error&) {  // no thread can be made: go on without GPUs
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ResourceMonitor(const ResourceMonitor&) = delete;
  ~ResourceMonitor() {
    stop_ = moe::detail::Descriptor();
    if (thread_.joinable()) thread_.join();
  }

  /// Never waits for nvidia-smi: `gpus` is its last answer, empty before the first one.
  Resources sample() {
    Resources now;
    const rusage usage = used();
    const double cpu = cpu_seconds(usage);
    const auto clock = Clock::now();
    const double elapsed = std::chrono::duration<double>(clock - clock_).count();
    // Over a very short time the rate would be noise, so the previous one is kept. The first call
    // has no previous rate and accepts a shorter time.
    if (elapsed >= (std::isnan(cpu_percent_) ? 1e-4 : 0.005)) {
      cpu_percent_ = 100 * (cpu - cpu_) / elapsed;
      cpu_ = cpu;
      clock_ = clock;
    }
    now.cpu_percent = cpu_percent_;
    now.memory_mb = detail::status_mb("VmRSS:");
    // Preferred to ru_maxrss, which may be that of the program that started this one.
    now.peak_memory_mb = detail::status_mb("VmHWM:");
    if (std::isnan(now.peak_memory_mb) && usage.ru_maxrss > 0)
      now.peak_memory_mb = double(usage.ru_maxrss) * maxrss_mb;
    now.peak_memory_mb = std::fmax(now.peak_memory_mb, now.memory_mb);
    const std::lock_guard lock(mutex_);
    now.gpus = gpus_;
    return now;
  }

 private:
  using Clock = std::chrono::steady_clock;
#if defined(__APPLE__)
  static constexpr double maxrss_mb = 1e-6;
#else
  static constexpr double maxrss_mb = 1024e-6;
#endif

  static rusage used() {
    rusage usage = {};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage;
  }
  static double cpu_seconds(const rusage& usage) {
    const auto seconds = [](const timeval& time) {
      return double(time.tv_sec) + 1e-6 * double(time.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }

  void watch(const std::string& program, std::chrono::milliseconds pause, const char* visible) {
    for (int failures = 0; failures < 3;) {
      const std::string csv =
          output_of({program, detail::gpu_query, "--format=csv,noheader,nounits"},
                    std::chrono::seconds(5), stopped_.get());
      failures = csv.empty() ? failures + 1 : 0;
      {
        const std::lock_guard lock(mutex_);
        gpus_ = detail::visible_gpus(parse_gpu_use(csv), visible);
      }
      pollfd stop = {stopped_.get(), POLLIN, 0};
      if (::poll(&stop, 1, int(pause.count())) > 0) return;
    }
  }

  double cpu_ = cpu_seconds(used()), cpu_percent_ = unknown;
  Clock::time_point clock_ = Clock::now();
  moe::detail::Descriptor stopped_, stop_;  // closing stop_ wakes the thread
  std::mutex mutex_;
  std::vector<GpuUse> gpus_;
  std::thread thread_;
};

}  // namespace lab
