#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <moe/core/error.hpp>
#include <string>
#include <utility>

namespace moe::detail {

/// How many forks lie between the first process that used this library and this one. A child has
/// only the thread that forked: what others were doing at that moment is never finished there.
inline std::atomic<std::uint32_t> forks{0};

/// From the first call on, forks are counted.
inline void count_forks() {
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
}

/// A number above 0 that no other thread of this process has or had.
inline std::uint32_t thread_number() {
  static std::atomic<std::uint32_t> threads{0};
  static constinit thread_local std::uint32_t number = 0;
  if (number == 0) number = 1 + threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

/// Which thread is in an object that only one may be in. It does not make the second one wait: that
/// program has a mistake in it, and results that depend on who is first.
/// Test: tests/core/in_use.cpp.
class InUse {
 public:
  /// The object, for one thread, until the end of this life.
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

  /// Within a hold of the same thread a hold is free and ends nothing.
  /// Errors: another thread holds it; `what` names the object.
  [[nodiscard]] Hold hold(const char* what) {
    const std::uint32_t fork = forks.load(std::memory_order_relaxed);
    const std::uint64_t mine = std::uint64_t(fork) << 32 | thread_number();
    std::uint64_t seen = holder_.load(std::memory_order_relaxed);
    if (std::uint32_t(seen) == std::uint32_t(mine)) return Hold();
    if (seen != 0 && seen >> 32 != fork) {  // of a thread that the fork left behind
      holder_.compare_exchange_strong(seen, 0, std::memory_order_relaxed);
      seen = 0;
    }
    if (seen != 0 || !holder_.compare_exchange_strong(seen, mine, std::memory_order_acquire))
      refuse(what);
    return Hold(this);
  }

 private:
  [[noreturn]] static void refuse(const char* what) {
    throw Error("cannot use " + std::string(what) +
                " from a second thread while a first one is in it: their results would mix; give "
                "each thread a backend and a model of its own, or let them take turns");
  }

  std::atomic<std::uint64_t> holder_{0};  // forks and number of the thread; 0: nobody
};

/// Holds what can be held: a model or a backend of the user's own need not offer it.
template <class Object>
auto hold(Object& object) {
  if constexpr (requires { object.hold(); }) {
    return object.hold();
  } else {
    return InUse::Hold();
  }
}

}  // namespace moe::detail
