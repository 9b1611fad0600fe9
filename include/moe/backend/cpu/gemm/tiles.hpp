#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <moe/core/isa.hpp>
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define MOE_HAS_TILES 1
#endif

// The matrix unit of x86 (AMX): eight tile registers of 16 rows x 64 bytes. `multiply` adds to a
// tile of 16 x 16 floats the product of 16 x 32 and 32 x 16 bfloat16 numbers. The right factor has
// the terms of the sum in pairs: its row p holds terms 2p and 2p + 1 of 16 columns.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS.

namespace moe::inline MOE_ISA::detail {

inline constexpr int tile_side = 16;   // rows of a tile, and its columns of float
inline constexpr int tile_terms = 32;  // bfloat16 terms of the sum in one product of tiles

/// The tile registers in plain C++, with the rounding of the processor's: on any machine the same
/// bits. Slow, for tests.
class EmulatedTiles {
 public:
  struct Session {};  // nothing to prepare

  template <int R>
  void zero() {
    std::memset(tile_[R], 0, sizeof tile_[R]);
  }
  template <int R>
  void load(const void* from, std::ptrdiff_t row_bytes) {
    for (int r = 0; r < tile_side; ++r)
      std::memcpy(tile_[R][r], static_cast<const char*>(from) + r * row_bytes, sizeof tile_[R][r]);
  }
  template <int R>
  void store(void* to, std::ptrdiff_t row_bytes) const {
    for (int r = 0; r < tile_side; ++r)
      std::memcpy(static_cast<char*>(to) + r * row_bytes, tile_[R][r], sizeof tile_[R][r]);
  }
  /// tile C += tile A * tile B. The even and the odd terms are summed apart, then together, and
  /// that is added to C.
  template <int C, int A, int B>
  void multiply() {
    for (int i = 0; i < tile_side; ++i)
      for (int j = 0; j < tile_side; ++j) {
        float even = 0, odd = 0;
        for (int p = 0; p < tile_side; ++p) {
          const std::uint32_t a = tile_[A][i][p], b = tile_[B][p][j];
          even = flushed(std::fma(number(a << 16), number(b << 16), even));
          odd = flushed(std::fma(number(a & upper), number(b & upper), odd));
        }
        const float sum = number(tile_[C][i][j]) + flushed(even + odd);
        tile_[C][i][j] = __builtin_bit_cast(std::uint32_t, flushed(sum));
      }
  }

 private:
  static constexpr std::uint32_t upper = 0xFFFF0000u;
  /// The float with these bits; a subnormal one is read as 0, as the processor does.
  static float number(std::uint32_t bits) { return flushed(__builtin_bit_cast(float, bits)); }
  static float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

  std::uint32_t tile_[8][tile_side][tile_side];
};

#ifdef MOE_HAS_TILES
/// The registers themselves. Their instructions are written as text, so that every x86-64 build
/// contains them, and are only run where `has_tiles()`.
struct Tiles {
  /// Configures the calling thread's tiles, and gives them back at the end of its scope.
  struct Session {
    Session() {
      struct alignas(64) Shape {
        std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
        std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
      };
      static constexpr Shape shape{};
      asm volatile("ldtilecfg %0" ::"m"(shape));
    }
    Session(const Session&) = delete;
    ~Session() { asm volatile("tilerelease"); }
  };

  template <int R>
  void zero() {
    asm volatile("{tilezero %%tmm%c0|tilezero tmm%c0}" ::"i"(R));
  }
  template <int R>
  void load(const void* from, std::ptrdiff_t row_bytes) {
    asm volatile("{tileloadd (%0,%1,1), %%tmm%c2|tileloadd tmm%c2, [%0+%1*1]}" ::"r"(from),
                 "r"(row_bytes), "i"(R)
                 : "memory");
  }
  template <int R>
  void store(void* to, std::ptrdiff_t row_bytes) const {
    asm volatile("{tilestored %%tmm%c2, (%0,%1,1)|tilestored [%0+%1*1], tmm%c2}" ::"r"(to),
                 "r"(row_bytes), "i"(R)
                 : "memory");
  }
  template <int C, int A, int B>
  void multiply() {
    asm volatile(
        "{tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0|tdpbf16ps tmm%c0, tmm%c1, tmm%c2}" ::"i"(C),
        "i"(A), "i"(B));
  }
};
#endif

/// What a processor and its system say about tiles.
struct TileSupport {
  std::uint32_t features = 0;  // CPUID leaf 7, register edx: bit 22 bfloat16 products, 24 tiles
  std::uint64_t saved = 0;     // XCR0: bits 17 and 18, the system keeps tiles for each thread
  bool permitted = false;      // Linux asks each process for permission

  constexpr bool usable() const {
    constexpr std::uint32_t needed = 1u << 22 | 1u << 24;
    return (features & needed) == needed && (saved >> 17 & 3) == 3 && permitted;
  }
};

/// Whether this process may use tiles. Asks the system for permission, once.
inline bool has_tiles() {
#ifdef MOE_HAS_TILES
  static const bool usable = [] {
    TileSupport support;
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !(c >> 27 & 1)) return false;  // no XCR0
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    support.features = d;
    std::uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    support.saved = std::uint64_t(high) << 32 | low;
    constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM of arch_prctl
    support.permitted = ::syscall(SYS_arch_prctl, request, tile_data) == 0;
    return support.usable();
  }();
  return usable;
#else
  return false;
#endif
}

}  // namespace moe::detail
