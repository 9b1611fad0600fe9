#include <cmath>
#include <moe/core/bfloat16.hpp>
#include <type_traits>
#include <vector>

#include "backends.hpp"
#include "catch.hpp"
#include "kernel_cases.hpp"

// Compares every kernel of moe/kernels/list.hpp on every backend of backends.hpp with the oracle.

namespace {

using namespace moe;
using namespace moe::test;

/// The same kernel with double in place of every number type. Some kernels have none.
template <class T>
struct InDouble {
  static constexpr bool is_number = std::is_arithmetic_v<T> || std::is_same_v<T, bfloat16>;
  using type = std::conditional_t<is_number, double, T>;
};
template <template <class...> class Kernel, class... Types>
struct InDouble<Kernel<Types...>> {
  using type = Kernel<typename InDouble<Types>::type...>;
};

struct Size {
  int rows, cols, head_dim;
};
// Rows shorter than a SIMD register, of several registers and a rest, and of several blocks of
// registers and a rest.
constexpr Size sizes[] = {{3, 2, 2}, {45, 52, 26}, {20, 150, 50}};

/// Largest difference of operand i from the oracle's, less the rounding of its type, relative to
/// its largest number.
template <class B>
double difference(const Operands<B>& got, const Operands<Reference<double>>& expected,
                  std::size_t i) {
  const std::vector<double> a = got.numbers(i), b = expected.numbers(i);
  REQUIRE(a.size() == b.size());
  double worst = 0, largest = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (std::isnan(a[k]) && std::isnan(b[k])) continue;  // not known, as the oracle says
    const double excess = std::abs(a[k] - b[k]) - got.rounding(i) * std::abs(b[k]);
    worst = std::isnan(excess) ? INFINITY : std::max(worst, excess);
    largest = std::max(largest, std::abs(b[k]));
  }
  return worst > 0 ? worst / largest : 0;
}

template <class Kernel, class B>
void check(B& be) {
  constexpr double tolerance = sizeof(Wide<B>) == 4 ? 4e-6 : 1e-14;
  Reference<double> oracle;
  const std::vector<Variant> variants = Case<Kernel>::variants();
  for (const Size& size : sizes)
    for (std::size_t v = 0; v < variants.size(); ++v) {
      Operands<B> x(be, size.rows, size.cols, size.head_dim);
      Operands<Reference<double>> expected(oracle, size.rows, size.cols, size.head_dim);
      Case<Kernel>::make(x, int(v))(be);
      Case<typename InDouble<Kernel>::type>::make(expected, int(v))(oracle);
      be.synchronize();
      REQUIRE(x.count() == expected.count());
      for (std::size_t i = 0; i < x.count(); ++i) {
        INFO(variants[v].name << " on " << size.rows << " x " << size.cols << ", operand " << i);
        CHECK(difference(x, expected, i) <= tolerance);
      }
    }
}

TEMPLATE_LIST_TEST_CASE("Backends: every kernel agrees with the oracle", "[parity]", Backends) {
  using B = TestType;
  B backend;
  kernel::for_each(kernel::AllKernels<Wide<B>, Value<B>>{},
                   [&]<class Kernel>() { check<Kernel>(backend); });
}

TEST_CASE("FinishReport: a loss without weight does not count, even if it is infinite",
          "[report]") {
  Reference<double> be;
  const double loss = 2, correct = 1, probs = 1, means[2] = {INFINITY, 0};
  const int offset[2] = {0, 1};
  double report[8];
  int not_finite = 0;
  const auto total = [&](double z_weight) {
    be.rows(1, kernel::FinishReport<double>{1,
                                            &loss,
                                            &correct,
                                            {1, 1, offset, &probs, means, 0},
                                            0.5,
                                            z_weight,
                                            0,
                                            report,
                                            &not_finite});
    return report[4];
  };
  CHECK(total(0) == 2.5);
  CHECK(not_finite == 0);
  CHECK(total(0.1) == INFINITY);
  CHECK(not_finite == 1);
}

/// What serial_total promises: 256 sums take the numbers in turn, then halves are added.
template <class T>
double total_of(const std::vector<T>& x) {
  std::vector<double> sums(256);
  for (std::size_t i = 0; i < x.size(); ++i) sums[i % 256] += double(x[i]);
  for (; sums.size() > 1; sums.resize(sums.size() / 2))
    for (std::size_t j = 0; j < sums.size() / 2; ++j) sums[j] += sums[sums.size() / 2 + j];
  return sums[0];
}

TEMPLATE_LIST_TEST_CASE("Backends: a total has the same bits on all", "[parity]", Backends) {
  using B = TestType;
  using T = Wide<B>;
  B be;
  for (const int n : {1, 2, 255, 256, 257, 1000, 40000}) {
    std::vector<T> numbers(std::size_t(n), T(0));
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = T(std::exp(10 * normal(17, 3, i)));
    const kernel::GradientMatrix matrix{0, n, 0};
    const auto place = [&](const auto* from, std::size_t count) {
      Arena<B> arena(be, count * sizeof *from);
      be.upload(arena.data(), from, arena.bytes());
      return arena;
    };
    const Arena<B> partial = place(numbers.data(), numbers.size()), table = place(&matrix, 1),
                   square(be, sizeof(double));
    be.rows(1,
            kernel::MatrixSquare<T>{reinterpret_cast<const kernel::GradientMatrix*>(table.data()),
                                    reinterpret_cast<const T*>(partial.data()),
                                    reinterpret_cast<double*>(square.data()), n});
    double got = 0;
    be.download(&got, square.data(), sizeof got);
    INFO(n << " numbers");
    CHECK(got == total_of(numbers));
  }
}

}  // namespace
