#include <cmath>
#include <limits>
#include <moe/backend/cpu/simd/lanes.hpp>
#include <moe/backend/reference.hpp>
#include <moe/core/bfloat16.hpp>
#include <vector>

#include "catch.hpp"

namespace {

using namespace moe;

float float_of(std::uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}
bool same(bfloat16 a, bfloat16 b) {
  return a.bits == b.bits;
}
/// Rounds by the definition: to the nearer neighbour, or in a tie to the one with the even last
/// bit.
bfloat16 rounded_slowly(float x) {
  const auto below =
      bfloat16::from_bits(static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, x) >> 16));
  const auto above = bfloat16::from_bits(static_cast<std::uint16_t>(below.bits + 1));
  // The number after the largest one is infinity. For rounding it stands at 2^128.
  const double high =
      std::isinf(float(above)) ? std::copysign(std::ldexp(1.0, 128), double(x)) : double(above);
  const double down = std::abs(double(x) - double(below)), up = std::abs(high - double(x));
  if (down == up) return below.bits % 2 == 0 ? below : above;
  return down < up ? below : above;
}

TEST_CASE("bfloat16: every bit pattern becomes its float and comes back", "[exact]") {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const bfloat16 x = bfloat16::from_bits(static_cast<std::uint16_t>(bits));
    const float wide = x;
    const int exponent = int(bits >> 7 & 255), mantissa = int(bits & 127);
    const double sign = bits & 0x8000 ? -1 : 1;
    bool good = std::signbit(wide) == (sign < 0);
    if (exponent == 255) {
      good = good && (mantissa != 0 ? std::isnan(wide) : std::isinf(wide));
    } else {
      good = good &&
             double(wide) == sign * (exponent == 0 ? std::ldexp(mantissa, -133)
                                                   : std::ldexp(128 + mantissa, exponent - 134));
    }
    // A signalling NaN may come back quiet.
    good = good && (std::isnan(wide) ? std::isnan(float(bfloat16(wide))) : same(wide, x));
    wrong += !good;
  }
  CHECK(wrong == 0);
}

TEST_CASE("bfloat16: floats round to the nearest, ties to even", "[exact]") {
  CHECK(float(bfloat16(3.14159f)) == 3.140625f);
  CHECK(float(bfloat16(1 + 1.0f / 256)) == 1.0f);            // a tie, down to even
  CHECK(float(bfloat16(1 + 3.0f / 256)) == 1 + 4.0f / 256);  // a tie, up to even
  CHECK(float(bfloat16(1 + 1.0f / 256 + 1e-6f)) == 1 + 2.0f / 256);
  CHECK(float(bfloat16(-1 - 1.0f / 256)) == -1.0f);
  CHECK(float(bfloat16(2.5)) == 2.5f);
  const float most = std::numeric_limits<float>::max();
  CHECK(std::isinf(float(bfloat16(most))));
  CHECK(float(bfloat16(-most)) == -std::numeric_limits<float>::infinity());
  CHECK(float(bfloat16(float_of(0x7F7F7FFF))) == float_of(0x7F7F0000));
  CHECK(std::isnan(float(bfloat16(float_of(0x7F800001)))));  // not infinity
  CHECK(std::isnan(float(bfloat16(float_of(0xFFFFFFFF)))));
  CHECK(bfloat16(-0.0f).bits == 0x8000);
  int wrong = 0;
  for (std::uint32_t upper = 0; upper < 65536; ++upper)
    for (const std::uint32_t lower : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const float x = float_of(upper << 16 | lower);
      if (std::isnan(x) || std::isinf(x)) continue;
      wrong += !same(bfloat16(x), rounded_slowly(x));
    }
  CHECK(wrong == 0);
}

TEST_CASE(
    "bfloat16: a register of floats reads and writes the same bits as "
    "one number",
    "[exact]") {
  using Pack = detail::Register<float>;
  constexpr int width = detail::batch_width<float>;
  std::vector<float> all;
  for (std::uint32_t upper = 0; upper < 65536; ++upper)
    for (const std::uint32_t lower : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      all.push_back(float_of(upper << 16 | lower));
  std::vector<bfloat16> narrow(std::size_t(width) + 2, bfloat16(7.0f));
  int wrong = 0;
  for (std::size_t i = 0; i + width <= all.size(); i += width) {
    store(narrow.data(), Lane<Pack>{1}, Pack::load_unaligned(&all[i]));
    const Pack back = load(narrow.data(), Lane<Pack>{1});
    float wide[width];
    back.store_unaligned(wide);
    for (int l = 0; l < width; ++l) {
      const float x = all[i + std::size_t(l)];
      const bfloat16 got = narrow[std::size_t(l) + 1];
      const bool may_be_zero = std::abs(x) < std::numeric_limits<float>::min();
      const bool zero = float(got) == 0 && std::signbit(float(got)) == std::signbit(x);
      wrong += !(same(got, bfloat16(x)) || (may_be_zero && zero));
      wrong += __builtin_bit_cast(std::uint32_t, wide[l]) != std::uint32_t(got.bits) << 16;
    }
  }
  CHECK(wrong == 0);
  CHECK(float(narrow.front()) == 7);  // nothing beside the register is touched
  CHECK(float(narrow.back()) == 7);
}

TEST_CASE("bfloat16: a row of bfloat16 is read and written through lanes of float", "[exact]") {
  bfloat16 data[3] = {1.0f, 2.0f, 3.0f};
  const Row<bfloat16> row{data};
  const Lane<float> second{1};
  row[second] += 1.0f / 128;  // below half a unit in the last place of 2
  CHECK(float(data[1]) == 2);
  row[second] = row[second].value() + 3.0f / 128;
  CHECK(float(data[1]) == 2 + 2.0f / 64);
  static_assert(std::is_same_v<decltype(Row<const bfloat16>{data}[second]), float>);
}

TEST_CASE("Reference: a float operand is rounded before a product unless it is exact",
          "[reference]") {
  Reference<float, bfloat16> be;
  const float fine = 1 + 1.0f / 512;  // rounds to 1
  const bfloat16 x[2] = {1.0f, 3.0f};
  const float w[2] = {fine, fine};
  float y = 0;
  const Matrix<const bfloat16> a{x, 2};
  const Matrix<const float> b{w, 1};
  be.gemm(1, 1, 2, a, b, &y, 1);
  CHECK(y == 4);
  be.gemm(1, 1, 2, a, b, &y, 1, {.precision = Precision::exact});
  CHECK(y == 4 * fine);
  be.grouped_gemm_m({1, 1, std::vector<int>{0, 1}.data()}, 1, 2, a, b, 0, &y, 1);
  CHECK(y == 4);
  be.grouped_gemm_k({1, 2, std::vector<int>{0, 2}.data()}, 1, 1, Matrix<const bfloat16>{x, 1}, b,
                    &y, 1, 0, {.precision = Precision::exact});
  CHECK(y == 4 * fine);
}

TEST_CASE("Reference: a product in bfloat16 is rounded once, after the old value is added",
          "[reference]") {
  Reference<float, bfloat16> be;
  const bfloat16 one = 1.0f;
  const float small = 1.0f / 256, bias = 1.0f / 256;
  bfloat16 y = 1.0f;
  // 1 + 1/256 + 1/256: rounded one after the other it would stay 1.
  be.gemm(1, 1, 1, Matrix<const float>{&small, 1}, Matrix<const bfloat16>{&one, 1}, &y, 1,
          {.beta = 1, .bias = &bias});
  CHECK(float(y) == 1 + 1.0f / 128);
}

}  // namespace
