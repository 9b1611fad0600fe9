#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <moe/core/bfloat16.hpp>
#include <moe/core/enum_names.hpp>
#include <moe/core/error.hpp>
#include <string>
#include <string_view>
#include <type_traits>

namespace moe::inline MOE_ISA {

static_assert(std::endian::native == std::endian::little && sizeof(std::size_t) == 8,
              "moe: tensor files are read and written on 64-bit little-endian machines");

/// Element types of a tensor file, in the order of the safetensors reference (by alignment).
// clang-format off
enum class Dtype : std::uint8_t {
  BOOL, F4, F6_E2M3, F6_E3M2, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ,
  I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64
};
// clang-format on

/// Size of one element in bits.
constexpr int bits_of(Dtype dtype) {
  if (dtype == Dtype::F4) return 4;
  if (dtype == Dtype::F6_E2M3 || dtype == Dtype::F6_E3M2) return 6;
  if (dtype < Dtype::I16) return 8;
  if (dtype < Dtype::I32) return 16;
  return dtype < Dtype::C64 ? 32 : 64;
}

/// The element type in files of a C++ type.
template <class T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, double>) return Dtype::F64;
  if constexpr (std::is_same_v<T, float>) return Dtype::F32;
  if constexpr (std::is_same_v<T, bfloat16>) return Dtype::BF16;
  if constexpr (std::is_same_v<T, bool>) return Dtype::BOOL;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    constexpr bool sign = std::is_signed_v<T>;
    if constexpr (sizeof(T) == 1) return sign ? Dtype::I8 : Dtype::U8;
    if constexpr (sizeof(T) == 2) return sign ? Dtype::I16 : Dtype::U16;
    if constexpr (sizeof(T) == 4) return sign ? Dtype::I32 : Dtype::U32;
    if constexpr (sizeof(T) == 8) return sign ? Dtype::I64 : Dtype::U64;
  }
  static_assert(
      (std::is_arithmetic_v<T> && !std::is_same_v<T, long double>) || std::is_same_v<T, bfloat16>,
      "moe: tensor files hold float, double, bfloat16, bool and integers of 1, 2, 4, 8 bytes");
}

/// Converts IEEE half precision or bfloat16, given as bits, to float. Exact.
inline float float_of_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u;
  const std::uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}
/// The nearest half precision number, ties to even; infinity from 65520 on.
inline std::uint16_t f16_of_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value), magnitude = bits & 0x7FFFFFFFu;
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  std::uint32_t half;
  if (magnitude > 0x7F800000u) {
    half = 0x7E00u;  // NaN
  } else if (magnitude >= 0x477FF000u) {
    half = 0x7C00u;
  } else if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 rounds to a multiple of 2^-24
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  } else {
    half = (magnitude - 0x38000000u + 0xFFFu + (magnitude >> 13 & 1u)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}
inline float float_of_bf16(std::uint16_t bits) {
  return bfloat16::from_bits(bits);
}

namespace detail {

template <class From, class To, class Map>
void convert_elements(const unsigned char* from, std::size_t count, To* to, Map map) {
  for (std::size_t i = 0; i < count; ++i) {
    From element;
    std::memcpy(&element, from + i * sizeof element, sizeof element);
    to[i] = static_cast<To>(map(element));
  }
}

}  // namespace detail

/// True if convert() supports the element type.
constexpr bool is_convertible(Dtype dtype) {
  return dtype == Dtype::BOOL || dtype == Dtype::U8 || dtype == Dtype::I8 ||
         (dtype >= Dtype::I16 && dtype != Dtype::C64);
}

/// to[i] = element i of `from` (unaligned bytes), converted as by static_cast.
/// An unsupported element type is a contract violation; ask is_convertible first.
template <class To>
void convert(Dtype dtype, const void* from, std::size_t count, To* to) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  const auto same = [](auto value) { return value; };
  switch (dtype) {
    case Dtype::BOOL:
      return detail::convert_elements<std::uint8_t>(bytes, count, to,
                                                    [](auto b) { return b != 0; });
    case Dtype::U8:
      return detail::convert_elements<std::uint8_t>(bytes, count, to, same);
    case Dtype::I8:
      return detail::convert_elements<std::int8_t>(bytes, count, to, same);
    case Dtype::I16:
      return detail::convert_elements<std::int16_t>(bytes, count, to, same);
    case Dtype::U16:
      return detail::convert_elements<std::uint16_t>(bytes, count, to, same);
    case Dtype::F16:
      return detail::convert_elements<std::uint16_t>(bytes, count, to, float_of_f16);
    case Dtype::BF16:
      return detail::convert_elements<std::uint16_t>(bytes, count, to, float_of_bf16);
    case Dtype::I32:
      return detail::convert_elements<std::int32_t>(bytes, count, to, same);
    case Dtype::U32:
      return detail::convert_elements<std::uint32_t>(bytes, count, to, same);
    case Dtype::F32:
      return detail::convert_elements<float>(bytes, count, to, same);
    case Dtype::F64:
      return detail::convert_elements<double>(bytes, count, to, same);
    case Dtype::I64:
      return detail::convert_elements<std::int64_t>(bytes, count, to, same);
    case Dtype::U64:
      return detail::convert_elements<std::uint64_t>(bytes, count, to, same);
    default:
      MOE_EXPECTS(false, "no conversion from elements ", enum_name(dtype));
  }
}

}  // namespace moe
