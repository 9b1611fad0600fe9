#include <moe/backend/reference.hpp>
#include <moe/kernels/activation.hpp>
#include <moe/kernels/fuse.hpp>
#include <moe/kernels/residual.hpp>

#include "catch.hpp"

namespace test_kernel {

/// A type of numbers with functions in its own namespace.
struct Plain {
  double value;
  friend Plain operator+(Plain a, Plain b) { return {a.value + b.value}; }
  friend Plain operator-(Plain a) { return {-a.value}; }
  friend Plain operator/(Plain a, Plain b) { return {a.value / b.value}; }
  friend Plain exp(Plain) { return {3}; }
};
struct Special : Plain {};

}  // namespace test_kernel

template <>
struct moe::kernel::Math<test_kernel::Special> {
  static test_kernel::Special exp(const test_kernel::Special&) { return {{7}}; }
};

namespace {

using namespace moe;
using test_kernel::Plain;
using test_kernel::Special;

TEST_CASE("kernel::exp and others: for numbers they are the standard library's", "[kernel]") {
  CHECK(kernel::exp(0.5) == std::exp(0.5));
  CHECK(kernel::exp(0.5f) == std::exp(0.5f));
  CHECK(kernel::log(2.5) == std::log(2.5));
  CHECK(kernel::sqrt(2.0f) == std::sqrt(2.0f));
  CHECK(kernel::tanh(0.3) == std::tanh(0.3));
  CHECK(kernel::erf(0.3f) == std::erf(0.3f));
}

TEST_CASE("kernel::Math: kernels use a type's own functions, or a specialisation", "[kernel]") {
  CHECK(kernel::sigmoid(Plain{0}, Plain{1}).value == 1.0 / (1 + 3));
  CHECK(kernel::exp(Special{{0}}).value == 7);
}

TEST_CASE("kernel::Fused: the second kernel sees what the first has written", "[kernel]") {
  Reference<double> be;
  double a[4] = {1, 2, 3, 4}, b[4] = {10, 20, 30, 40}, c[4] = {100, 200, 300, 400};
  const Table<double> at_b{b, 2}, at_c{c, 2};
  be.rows(2, kernel::Fused{kernel::Add<double>{Table<const double>{a, 2}, at_b},
                           kernel::Add<double>{at_b, at_c}});
  CHECK(b[3] == 44);
  CHECK(std::vector<double>(c, c + 4) == std::vector<double>{111, 222, 333, 444});
}

}  // namespace
