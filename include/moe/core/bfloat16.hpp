#pragma once
#include <cstdint>
#include <moe/core/isa.hpp>
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA {

/// The upper 16 bits of a float: the same range, 8 significant bits. For storing activations; in
/// arithmetic it converts to float implicitly. Conversion from float rounds to nearest, ties to
/// even, and keeps infinities and NaN.
/// Test: tests/core/bfloat16.cpp.
///
///     moe::bfloat16 x = 3.14159f;  // 3.140625
///     float y = 2 * x;
struct bfloat16 {
  std::uint16_t bits;

  bfloat16() = default;
  MOE_KERNEL constexpr bfloat16(float x) : bits(rounded(__builtin_bit_cast(std::uint32_t, x))) {}
  MOE_KERNEL constexpr explicit bfloat16(double x) : bfloat16(static_cast<float>(x)) {}
  MOE_KERNEL constexpr operator float() const {
    return __builtin_bit_cast(float, std::uint32_t(bits) << 16);
  }
  MOE_KERNEL static constexpr bfloat16 from_bits(std::uint16_t bits) {
    bfloat16 x{};
    x.bits = bits;
    return x;
  }

 private:
  MOE_KERNEL static constexpr std::uint16_t rounded(std::uint32_t x) {
    if ((x & 0x7FFFFFFFu) > 0x7F800000u) return std::uint16_t(x >> 16 | 0x40u);  // a quiet NaN
    return std::uint16_t((x + 0x7FFFu + (x >> 16 & 1u)) >> 16);
  }
};
static_assert(sizeof(bfloat16) == 2 && std::is_trivially_copyable_v<bfloat16>);

// Kernels load bfloat16 as float and round when they store.
MOE_KERNEL float load(const bfloat16* at, Lane<float> i) {
  return at[i.index];
}
MOE_KERNEL void store(bfloat16* at, Lane<float> i, const float& value) {
  at[i.index] = value;
}

}  // namespace moe
