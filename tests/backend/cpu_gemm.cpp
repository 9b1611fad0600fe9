#include "catch.hpp"
#include "parity.hpp"

using namespace moe;
using namespace moe::test;

namespace {

/// Runs a product, call(backend, a, b, c, bias, sign), on Cpu<T> and twice on the oracle: with the
/// numbers, and with their magnitudes. Returns the largest error relative to the latter.
template <class T, class Call>
double verb_error(Cpu<T>& cpu, std::size_t a_size, std::size_t b_size, std::size_t c_size,
                  const Call& call) {
  const auto a = random_numbers<T>(a_size, 1), b = random_numbers<T>(b_size, 2),
             bias = random_numbers<T>(4096, 3);
  auto c = random_numbers<T>(c_size, 4);
  auto expected = widened(c), size = magnitudes(expected);
  Reference<double> oracle;
  call(cpu, a, b, c, bias, T(1));
  call(oracle, widened(a), widened(b), expected, widened(bias), 1.0);
  call(oracle, magnitudes(widened(a)), magnitudes(widened(b)), size, magnitudes(widened(bias)),
       -1.0);
  return error(c, expected, size);
}

template <class T>
double gemm_error(Cpu<T>& cpu, int m, int n, int k, bool at, bool bt, bool gathered, int kind) {
  const int ldc = n + 3;
  std::vector<int> row(std::size_t(std::max(m, 1)));
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = int(i * 7 % row.size());
  return verb_error<T>(
      cpu, std::size_t(m * k), std::size_t(n * k), std::size_t(m * ldc),
      [&](auto& be, const auto& a, const auto& b, auto& c, const auto& bias, auto sign) {
        using V = decltype(sign);
        Matrix<const V> left = at ? Matrix<const V>{a.data(), 1, m} : Matrix<const V>{a.data(), k};
        Matrix<const V> right = bt ? Matrix<const V>{b.data(), 1, k} : Matrix<const V>{b.data(), n};
        if (gathered) left.rows = row.data();
        be.gemm(m, n, k, left, right, c.data(), ldc, options(kind % 4, sign, bias.data()));
      });
}

template <class T>
void check_sizes() {
  Cpu<T> cpu{2};
  const int sizes[] = {1, 2, 3, 5, 8, 13, 14, 15, 16, 17, 29, 31, 32, 33, 40};
  int kind = 0;
  double worst = 0;
  for (const int m : sizes)
    for (const int n : sizes)
      for (const int k : {0, 1, 7, 16, 33, 40}) {
        ++kind;
        const bool gathered = (kind / 16) % 3 == 0;
        worst = std::max(worst, gemm_error(cpu, m, n, k, kind & 1, kind & 2, gathered, kind / 4));
      }
  CHECK(worst < tolerance<T>);
  worst = 0;
  for (int i = 0; i < 8; ++i)
    worst = std::max(worst, gemm_error(cpu, 100, 1100, 1200, i & 1, i & 2, i & 4, i));
  CHECK(worst < tolerance<T>);
}

/// The results of all kinds of products. The sizes span several tiles and blocks of k, and are
/// large enough for several threads.
template <class T>
std::vector<T> all_products(int threads) {
  Cpu<T> cpu{threads};
  const int m = 150, n = 210, k = 700, groups = 4;
  const int offset[] = {0, 10, 10, 131, 150}, longer[] = {0, 3, 300, 300, 700};
  const auto a = random_numbers<T>(std::size_t(m * k), 5),
             b = random_numbers<T>(std::size_t(groups * n * k), 6);
  std::vector<T> all;
  auto c = random_numbers<T>(std::size_t(groups * m * n), 7);
  const auto keep = [&] { all.insert(all.end(), c.begin(), c.end()); };
  cpu.gemm(m, n, k, {a.data(), k}, {b.data(), 1, k}, c.data(), n, {T(1), T(1), b.data()});
  keep();
  cpu.batched_gemm(2, 70, n, k, {a.data(), k}, 70 * k, {b.data(), n}, n * k, c.data(), n, m * n);
  keep();
  cpu.grouped_gemm_m({groups, offset[groups], offset}, n, k, {a.data(), k}, {b.data(), 1, k}, n * k,
                     c.data(), n);
  keep();
  cpu.grouped_gemm_k({groups, longer[groups], longer}, m, n, {a.data(), m}, {b.data(), n}, c.data(),
                     n, m * n, {T(1), T(1)});
  keep();
  return all;
}

}  // namespace

TEST_CASE("Cpu: gemm agrees with the oracle for every layout, edge and option", "[parity]") {
  check_sizes<float>();
  check_sizes<double>();
}

TEST_CASE("Cpu: gemm with beta 0 never reads C", "[parity]") {
  Cpu<float> cpu{1};
  for (const int n : {5, 32}) {
    std::vector<float> a(std::size_t(14 * 3), 1.0f), b(std::size_t(3 * n), 1.0f);
    std::vector<float> c(std::size_t(14 * n), std::nanf(""));
    cpu.gemm(14, n, 3, {a.data(), 3}, {b.data(), n}, c.data(), n);
    CHECK(std::count(c.begin(), c.end(), 3.0f) == 14 * n);
  }
}

TEST_CASE("Cpu: gemm writes nothing beside its C", "[edge]") {
  Cpu<float> cpu{2};
  const int m = 15, n = 33, ldc = 40;
  std::vector<float> a(std::size_t(m * 4), 1.0f), b(std::size_t(4 * n), 1.0f);
  std::vector<float> c(std::size_t((m + 1) * ldc), -1.0f);
  cpu.gemm(m, n, 4, {a.data(), 4}, {b.data(), n}, c.data(), ldc);
  CHECK(std::count(c.begin(), c.end(), 4.0f) == m * n);
  CHECK(std::count(c.begin(), c.end(), -1.0f) == (m + 1) * ldc - m * n);
}

/// Largest difference of symmetric_gemm of two matrices (m, k) from the oracle, relative to the
/// largest element; infinity if a result is not symmetric to the last bit.
template <class T>
double symmetric_error(Cpu<T>& cpu, int m, int k, bool transpose, const std::vector<T>& a,
                       SymmetricOptions<T> o) {
  Reference<double> oracle;
  const std::vector<double> exact(a.begin(), a.end());
  std::vector<T> got(std::size_t(2 * m * m), T(NAN));
  std::vector<double> expected(got.size());
  const auto view = [&](const auto& x) {
    using X = typename std::remove_cvref_t<decltype(x)>::value_type;
    return transpose ? Matrix<const X>{x.data(), 1, m} : Matrix<const X>{x.data(), k};
  };
  cpu.symmetric_gemm(2, m, k, view(a), m * k, got.data(), o);
  oracle.symmetric_gemm(2, m, k, view(exact), m * k, expected.data(),
                        {o.square, o.linear, o.identity, o.precision});
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::size_t side = std::size_t(m), block = i / (side * side) * side * side;
    const std::size_t row = (i - block) / side, col = (i - block) % side;
    if (got[i] != got[block + col * side + row]) return INFINITY;
    worst = std::max(worst, std::abs(double(got[i]) - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

TEST_CASE("Cpu: symmetric_gemm agrees with the oracle and is symmetric", "[parity]") {
  for_float_and_double([]<class T>(T) {
    const double bound = sizeof(T) == 4 ? 1e-5 : 1e-13;
    for (const int threads : {1, 2}) {
      Cpu<T> cpu{threads};
      for (const int m : {1, 5, 70, 131})  // without and with strips, the last one shorter
        for (const int k : {3, 150})
          for (const bool transpose : {false, true}) {
            CAPTURE(threads, m, k, transpose);
            const auto a = random_numbers<T>(std::size_t(2 * m * k), 3);
            CHECK(symmetric_error<T>(cpu, m, k, transpose, a, {}) < bound);
          }
      for (const int m : {5, 131}) {
        auto a = random_numbers<T>(std::size_t(2 * m * m), 3);
        for (int i = 0; i < 2 * m; ++i)
          for (int j = 0; j < i % m; ++j)
            a[std::size_t(i * m + j)] = a[std::size_t((i - i % m + j) * m + i % m)];
        CHECK(symmetric_error<T>(cpu, m, m, false, a, {T(2), T(-1.5), T(3), Precision::exact}) <
              bound);
      }
    }
  });
}

TEST_CASE("Cpu: batched_gemm agrees with the oracle", "[parity]") {
  for_float_and_double([]<class T>(T) {
    Cpu<T> cpu{2};
    for (const int batch : {0, 1, 3})
      for (const int m : {9, 130}) {
        const int n = 70, k = 90;
        const double e = verb_error<T>(
            cpu, std::size_t(3 * m * k), std::size_t(3 * n * k), std::size_t(3 * m * n),
            [&](auto& be, const auto& a, const auto& b, auto& c, const auto& bias, auto sign) {
              be.batched_gemm(batch, m, n, k, {a.data(), k}, m * k, {b.data(), 1, k}, n * k,
                              c.data(), n, m * n, options(3, sign, bias.data()));
            });
        CHECK(e < tolerance<T>);
      }
  });
}

TEST_CASE("Cpu: grouped_gemm_m agrees with the oracle, groups empty, single or skewed",
          "[parity]") {
  for_float_and_double([]<class T>(T) {
    Cpu<T> cpu{2};
    const std::vector<std::vector<int>> splits = {
        {0, 0, 0, 0}, {0, 40}, {0, 1, 1, 40}, {0, 13, 27, 27, 200}, {0, 0, 190, 200}};
    const int n = 77, k = 61, tokens = 50;
    std::vector<int> token(200);
    for (int i = 0; i < 200; ++i) token[std::size_t(i)] = i * 13 % tokens;
    for (const auto& offset : splits)
      for (const bool gathered : {false, true}) {
        const int groups = int(offset.size()) - 1;
        const double e = verb_error<T>(
            cpu, std::size_t(200 * k), std::size_t(groups * n * k), std::size_t(200 * n),
            [&](auto& be, const auto& a, const auto& b, auto& c, const auto& bias, auto sign) {
              be.grouped_gemm_m({groups, offset.back(), offset.data()}, n, k,
                                {a.data(), k, 1, gathered ? token.data() : nullptr},
                                {b.data(), 1, k}, n * k, c.data(), n,
                                options(gathered ? 3 : 2, sign, bias.data()), 100);
            });
        CHECK(e < tolerance<T>);
      }
  });
}

TEST_CASE("Cpu: grouped_gemm_k agrees with the oracle, groups empty, single or skewed",
          "[parity]") {
  for_float_and_double([]<class T>(T) {
    Cpu<T> cpu{2};
    const std::vector<std::vector<int>> splits = {
        {0, 0, 0}, {0, 40}, {0, 1, 1, 40}, {5, 13, 27, 27, 700}, {0, 0, 690, 700}};
    const int m = 45, n = 61;
    std::vector<int> token(700);
    for (int i = 0; i < 700; ++i) token[std::size_t(i)] = i * 13 % 700;
    for (const auto& offset : splits)
      for (const int gathered : {0, 1, 2, 3})
        for (const int kind : {0, 1, 3}) {
          const int groups = int(offset.size()) - 1;
          const double e = verb_error<T>(
              cpu, std::size_t(700 * m), std::size_t(700 * n), std::size_t(groups * m * n),
              [&](auto& be, const auto& a, const auto& b, auto& c, const auto&, auto sign) {
                using V = decltype(sign);
                be.grouped_gemm_k({groups, offset.back(), offset.data()}, m, n,
                                  {a.data(), m, 1, gathered & 1 ? token.data() : nullptr},
                                  {b.data(), n, 1, gathered & 2 ? token.data() : nullptr}, c.data(),
                                  n, m * n, options<V>(kind, sign, nullptr));
              });
          CHECK(e < tolerance<T>);
        }
  });
}

TEST_CASE("Cpu: products have the same bits for every number of threads", "[determinism]") {
  for_float_and_double([]<class T>(T) {
    const auto one = all_products<T>(1);
    for (const int threads : {2, 3, 4}) CHECK(same_bits(one, all_products<T>(threads)));
  });
}

TEST_CASE("Cpu: a row of a product has the same bits alone and among others", "[determinism]") {
  for_float_and_double([]<class T>(T) {
    Cpu<T> cpu{2};
    const int m = 61, n = 130, k = 1100;
    const auto a = random_numbers<T>(std::size_t(m * k), 8),
               b = random_numbers<T>(std::size_t(n * k), 9);
    std::vector<T> all(std::size_t(m * n)), alone(std::size_t(m * n));
    cpu.gemm(m, n, k, {a.data(), k}, {b.data(), 1, k}, all.data(), n, {2, 0, b.data()});
    for (const int together : {1, 2, 3, 7, 14}) {
      for (int i = 0; i < m; i += together)
        cpu.gemm(std::min(together, m - i), n, k, {a.data() + i * k, k}, {b.data(), 1, k},
                 alone.data() + i * n, n, {2, 0, b.data()});
      CHECK(same_bits(all, alone));
    }
  });
}
