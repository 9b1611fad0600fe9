#pragma once
#include <cstddef>
#include <cstring>
#include <moe/backend/cpu/parallel.hpp>
#include <moe/core/error.hpp>
#include <new>
#include <string>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

namespace moe::inline MOE_ISA::detail {

/// Large blocks are aligned to this size, so that the kernel can back them with huge pages.
inline constexpr std::size_t huge_page = std::size_t(2) << 20;

inline std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t(bytes >= 2 * huge_page ? huge_page : 256);
}

/// A block aligned to 256 bytes. The threads zero it in parallel.
/// Errors: moe::Error if there is not enough memory.  Test: tests/backend/cpu.cpp.
inline std::byte* allocate_zeroed(std::size_t bytes, int threads) {
  void* block = ::operator new(bytes, alignment_of(bytes), std::nothrow);
  if (!block)
    throw Error("cannot allocate ", bytes,
                " bytes: the system has not enough memory; use a smaller batch or model");
#if defined(MADV_HUGEPAGE)
  if (bytes >= 2 * huge_page) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  const std::size_t chunk = 2 * huge_page;
  const int chunks = int((bytes + chunk - 1) / chunk);
  parallel(threads, chunks, [&](int i, int) {
    const std::size_t first = std::size_t(i) * chunk;
    std::memset(static_cast<std::byte*>(block) + first, 0,
                bytes - first < chunk ? bytes - first : chunk);
  });
  return static_cast<std::byte*>(block);
}

inline void release(std::byte* block, std::size_t bytes) {
  ::operator delete(block, alignment_of(bytes));
}

/// Working memory of one thread. It grows and never shrinks.
class Workspace {
 public:
  Workspace() = default;
  Workspace(Workspace&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  Workspace& operator=(Workspace&&) = delete;
  ~Workspace() {
    if (data_) release(data_, bytes_);
  }

  void reserve(std::size_t bytes) {
    if (bytes <= bytes_) return;
    if (data_) release(data_, bytes_);
    data_ = nullptr;
    bytes_ = 0;
    data_ = allocate_zeroed(bytes, 1);
    bytes_ = bytes;
  }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace moe::detail
