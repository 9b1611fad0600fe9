#include <cmath>
#include <limits>
#include <moe/io/dtype.hpp>

#include "catch.hpp"

using moe::Dtype;

TEST_CASE("Dtype: names and sizes are those of the safetensors reference", "[external]") {
  const struct {
    Dtype dtype;
    const char* name;
    int bits;
  } cases[] = {{Dtype::BOOL, "BOOL", 8},
               {Dtype::F4, "F4", 4},
               {Dtype::F6_E2M3, "F6_E2M3", 6},
               {Dtype::F6_E3M2, "F6_E3M2", 6},
               {Dtype::U8, "U8", 8},
               {Dtype::I8, "I8", 8},
               {Dtype::F8_E5M2, "F8_E5M2", 8},
               {Dtype::F8_E4M3, "F8_E4M3", 8},
               {Dtype::F8_E8M0, "F8_E8M0", 8},
               {Dtype::F8_E4M3FNUZ, "F8_E4M3FNUZ", 8},
               {Dtype::F8_E5M2FNUZ, "F8_E5M2FNUZ", 8},
               {Dtype::I16, "I16", 16},
               {Dtype::U16, "U16", 16},
               {Dtype::F16, "F16", 16},
               {Dtype::BF16, "BF16", 16},
               {Dtype::I32, "I32", 32},
               {Dtype::U32, "U32", 32},
               {Dtype::F32, "F32", 32},
               {Dtype::C64, "C64", 64},
               {Dtype::F64, "F64", 64},
               {Dtype::I64, "I64", 64},
               {Dtype::U64, "U64", 64}};
  int index = 0;
  for (const auto& c : cases) {
    CHECK(static_cast<int>(c.dtype) == index++);
    CHECK(moe::enum_name(c.dtype) == c.name);
    CHECK(moe::bits_of(c.dtype) == c.bits);
  }
  CHECK(index == int(moe::enum_names<moe::Dtype>.size()));
  CHECK(moe::dtype_of<float>() == Dtype::F32);
  CHECK(moe::dtype_of<double>() == Dtype::F64);
  CHECK(moe::dtype_of<std::int32_t>() == Dtype::I32);
  CHECK(moe::dtype_of<std::uint64_t>() == Dtype::U64);
  CHECK(moe::dtype_of<bool>() == Dtype::BOOL);
  CHECK(moe::dtype_of<std::int8_t>() == Dtype::I8);
}

TEST_CASE("Dtype: half precision of every bit pattern has the value of its definition", "[io]") {
  for (int bits = 0; bits < 65536; ++bits) {
    const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    const float got = moe::float_of_f16(static_cast<std::uint16_t>(bits));
    const double sign = bits & 0x8000 ? -1 : 1;
    bool good = false;
    if (exponent == 31) {
      good = mantissa != 0 ? std::isnan(got) : std::isinf(got);
    } else {
      good = got == sign * (exponent == 0 ? std::ldexp(mantissa, -24)
                                          : std::ldexp(1024 + mantissa, exponent - 25));
    }
    good = good && std::signbit(got) == (sign < 0);
    if (!good) FAIL("half " << bits << " became " << got);
  }
  CHECK(moe::float_of_bf16(0x3F80) == 1.0f);
  CHECK(moe::float_of_bf16(0xC049) == -3.140625f);
}

TEST_CASE("Dtype: convert keeps values, also from unaligned bytes", "[io]") {
  unsigned char bytes[33] = {};
  const std::int64_t integers[4] = {-1, 0, 7, 1LL << 40};
  std::memcpy(bytes + 1, integers, sizeof integers);
  double out[4];
  moe::convert(Dtype::I64, bytes + 1, 4, out);
  for (int i = 0; i < 4; ++i) CHECK(out[i] == static_cast<double>(integers[i]));
  const float floats[3] = {0.1f, -2.5f, 1e30f};
  std::memcpy(bytes + 1, floats, sizeof floats);
  moe::convert(Dtype::F32, bytes + 1, 3, out);
  for (int i = 0; i < 3; ++i) CHECK(out[i] == static_cast<double>(floats[i]));
  CHECK(moe::is_convertible(Dtype::BF16));
  CHECK(!moe::is_convertible(Dtype::F8_E4M3));
  CHECK(!moe::is_convertible(Dtype::C64));
}

TEST_CASE("Dtype: half precision is rounded to the nearest, ties to even", "[io]") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = std::uint16_t(bits);
    const bool nan = (bits & 0x7FFFu) > 0x7C00u;
    const std::uint16_t back = moe::f16_of_float(moe::float_of_f16(half));
    if (nan ? (back & 0x7FFFu) <= 0x7C00u : back != half) FAIL("half " << bits << " is " << back);
  }
  // Between two neighbours, and just beside the middle.
  for (std::uint16_t bits = 0; bits < 0x7BFF; ++bits) {
    const float low = moe::float_of_f16(bits), high = moe::float_of_f16(std::uint16_t(bits + 1));
    const float middle = low + (high - low) / 2;
    const std::uint16_t even = bits % 2 == 0 ? bits : std::uint16_t(bits + 1);
    const bool right = moe::f16_of_float(middle) == even &&
                       moe::f16_of_float(std::nextafter(middle, 0.0f)) == bits &&
                       moe::f16_of_float(std::nextafter(middle, 1e9f)) == bits + 1 &&
                       moe::f16_of_float(-middle) == (even | 0x8000);
    if (!right) FAIL("above half " << bits);
  }
  CHECK(moe::f16_of_float(65519.0f) == 0x7BFF);
  CHECK(moe::f16_of_float(65520.0f) == 0x7C00);
  CHECK(moe::f16_of_float(-1e30f) == 0xFC00);
}
