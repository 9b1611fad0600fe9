#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <moe/core/error.hpp>
#include <moe/core/isa.hpp>
#include <string>
#include <utility>

namespace moe::inline MOE_ISA::detail {

/// The number of forks between this process and the first one that used this library. A forked
/// child has only the thread that called fork: what other threads were doing at that moment is
/// never finished in the child.
inline std::atomic<std::uint32_t> forks{0};

/// Starts counting forks at the first call.
inline void count_forks() {
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
}

/// The number of the calling thread, above 0 and unique in this process.
inline std::uint32_t thread_number() {
  static std::atomic<std::uint32_t> threads{0};
  static constinit thread_local std::uint32_t number = 0;
  if (number == 0) number = 1 + threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

/// Records which thread is using an object that only one thread may use. A second thread is
/// refused, not made to wait: a program in which it happens has a mistake, and its results would
/// depend on which thread comes first.
/// Test: tests/core/in_use.cpp.
class InUse {
 public:
  /// Reserves the object for one thread, for the lifetime of the Hold.
  class Hold {
   public:
    Hold() = default;
    explicit Hold(InUse* of) : of_(of) {}
    Hold(Hold&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (of_) of_->holder_.store(0, std::memory_order_release);
    }

   private:
    InUse* of_ = nullptr;
  };

  InUse() { count_forks(); }

  /// Reserves the object for the calling thread. If this thread already holds it, the new Hold does
  /// nothing.
  /// Errors: moe::Error if another thread holds it; `what` names the object.
  [[nodiscard]] Hold hold(const char* what) {
    const std::uint32_t fork = forks.load(std::memory_order_relaxed);
    const std::uint64_t mine = std::uint64_t(fork) << 32 | thread_number();
    std::uint64_t seen = holder_.load(std::memory_order_relaxed);
    if (std::uint32_t(seen) == std::uint32_t(mine)) return Hold();
    if (seen != 0 && seen >> 32 != fork) {  // held by a thread that does not exist after the fork
      holder_.compare_exchange_strong(seen, 0, std::memory_order_relaxed);
      seen = 0;
    }
    if (seen != 0 || !holder_.compare_exchange_strong(seen, mine, std::memory_order_acquire))
      refuse(what);
    return Hold(this);
  }

 private:
  [[noreturn]] static void refuse(const char* what) {
    throw Error("cannot use ", what,
                " from a second thread while a first one is in it: their results would mix; give "
                "each thread a backend and a model of its own, or let them take turns");
  }

  std::atomic<std::uint64_t> holder_{0};  // forks and number of the thread; 0: nobody
};

/// Holds the object if it offers hold(). A model or backend written by the user need not offer it.
template <class Object>
auto hold(Object& object) {
  if constexpr (requires { object.hold(); }) {
    return object.hold();
  } else {
    return InUse::Hold();
  }
}

}  // namespace moe::detail
