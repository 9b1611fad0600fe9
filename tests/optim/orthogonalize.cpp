#include <moe/optim/orthogonalize.hpp>

#include "catch.hpp"
#include "model.hpp"
#include "skip.hpp"
#if __has_include(<moe/io/safetensors.hpp>)
#include <moe/io/safetensors.hpp>
#endif
#include <cstdio>
#include <cstdlib>

using moe::Orthogonalization;
using moe::test::largest_difference;

namespace {

constexpr auto newton_schulz5 = Orthogonalization::newton_schulz5;
constexpr auto polar_express5 = Orthogonalization::polar_express5;

template <class B, class... Threads>
std::vector<double> orthogonal(Orthogonalization method, int count, int rows, int cols,
                               const std::vector<double>& x, Threads... threads) {
  using T = moe::Wide<B>;
  using Orth = moe::Orthogonalizer<B>;
  B be(threads...);
  Orth orthogonalize{be, Orth::bytes_needed(count, rows, cols)};
  std::vector<T> work(x.begin(), x.end());
  const T* result = orthogonalize(method, count, rows, cols, work.data());
  return {result, result + x.size()};
}

std::vector<double> random_values(std::size_t size, std::uint64_t seed) {
  std::vector<double> x(size);
  for (std::size_t i = 0; i < size; ++i) x[i] = moe::normal(seed, 0, i);
  return x;
}

std::vector<double> transpose(const std::vector<double>& x, int rows, int cols) {
  std::vector<double> t(x.size());
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j) t[std::size_t(j * rows + i)] = x[std::size_t(i * cols + j)];
  return t;
}

/// Eigenvalues of a symmetric matrix by Jacobi rotations.
std::vector<double> eigenvalues(std::vector<double> a, int n) {
  const auto at = [&](int i, int j) -> double& { return a[std::size_t(i * n + j)]; };
  for (int sweep = 0; sweep < 12; ++sweep)
    for (int p = 0; p < n; ++p)
      for (int q = p + 1; q < n; ++q) {
        if (std::abs(at(p, q)) < 1e-300) continue;
        const double angle = 0.5 * std::atan2(2 * at(p, q), at(q, q) - at(p, p));
        const double c = std::cos(angle), s = std::sin(angle);
        for (int k = 0; k < n; ++k) {
          const double x = at(k, p), y = at(k, q);
          at(k, p) = c * x - s * y;
          at(k, q) = s * x + c * y;
        }
        for (int k = 0; k < n; ++k) {
          const double x = at(p, k), y = at(q, k);
          at(p, k) = c * x - s * y;
          at(q, k) = s * x + c * y;
        }
      }
  std::vector<double> values;
  for (int i = 0; i < n; ++i) values.push_back(at(i, i));
  return values;
}

/// Singular values of a matrix that is wider than high.
std::vector<double> singular_values(const std::vector<double>& x, int rows, int cols) {
  std::vector<double> gram(std::size_t(rows * rows));
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < rows; ++j)
      for (int k = 0; k < cols; ++k)
        gram[std::size_t(i * rows + j)] +=
            x[std::size_t(i * cols + k)] * x[std::size_t(j * cols + k)];
  std::vector<double> values = eigenvalues(gram, rows);
  for (double& v : values) v = std::sqrt(std::max(0.0, v));
  return values;
}

template <class B>
void check_fixtures(const std::string& folder, double tolerance) {
#if __has_include(<moe/io/safetensors.hpp>)
  const moe::Safetensors file{folder + "/orthogonalise.safetensors"};
  int cases = 0;
  for (const std::string& name : file.names()) {
    const std::size_t dot = name.find(".input");
    if (dot == std::string::npos) continue;
    const auto shape = file.shape(name);
    const int rows = int(shape[0]), cols = int(shape[1]);
    const std::vector<double> x = file.read<double>(name);
    const std::string size = name.substr(0, dot);
    INFO(name);
    CHECK(largest_difference(orthogonal<B>(newton_schulz5, 1, rows, cols, x),
                             file.read<double>(size + ".newton_schulz5")) < tolerance);
    CHECK(largest_difference(orthogonal<B>(polar_express5, 1, rows, cols, x),
                             file.read<double>(size + ".polar_express5")) < tolerance);
    ++cases;
  }
  CHECK(cases >= 4);
#else
  static_cast<void>(folder);
  static_cast<void>(tolerance);
#endif
}

template <class B>
double transposed_difference(int rows, int cols) {
  const std::vector<double> x = random_values(std::size_t(rows * cols), 5);
  const std::vector<double> wide = orthogonal<B>(newton_schulz5, 1, rows, cols, x);
  const std::vector<double> tall =
      orthogonal<B>(newton_schulz5, 1, cols, rows, transpose(x, rows, cols));
  return largest_difference(transpose(tall, cols, rows), wide);
}

}  // namespace

TEST_CASE("Orthogonalizer: equals the PyTorch fixtures", "[shared]") {
  const char* folder = std::getenv("MOE_FIXTURE_DIR");
  if (!folder || !*folder) {
    return moe::test::skip("orthogonalise fixtures, MOE_FIXTURE_DIR is not set");
  }
  check_fixtures<moe::Reference<double>>(folder, 1e-10);
#ifdef MOE_TEST_HAS_CPU
  check_fixtures<moe::Cpu<double>>(folder, 1e-10);
  check_fixtures<moe::Cpu<float>>(folder, 1e-3);
#endif
}

TEST_CASE("Orthogonalizer: a number goes through the scalar polynomial", "[golden]") {
  using B = moe::Reference<double>;
  CHECK(std::abs(orthogonal<B>(newton_schulz5, 1, 1, 1, {2})[0] - 0.6964364609132292) < 1e-13);
  CHECK(std::abs(orthogonal<B>(polar_express5, 1, 1, 1, {-2})[0] + 0.9036148931578607) < 1e-13);
}

TEST_CASE("Orthogonalizer: singular values land in the band of the method", "[optim]") {
  const int rows = 6, cols = 9;
  const std::vector<double> x = random_values(std::size_t(rows * cols), 3);
  const auto newton = orthogonal<moe::Reference<double>>(newton_schulz5, 1, rows, cols, x);
  for (double s : singular_values(newton, rows, cols)) {
    CHECK(s > 0.68);
    CHECK(s < 1.14);
  }
  const auto polar = orthogonal<moe::Reference<double>>(polar_express5, 1, rows, cols, x);
  for (double s : singular_values(polar, rows, cols)) {
    CHECK(s > 0.84);
    CHECK(s < 1.15);
  }
}

#ifdef MOE_TEST_HAS_CPU
TEST_CASE("Orthogonalizer: with bfloat16 operands singular values stay in the band",
          "[mixed][optim]") {
  for (const auto& [rows, cols] : {std::pair{6, 9}, {48, 130}, {130, 180}}) {
    INFO(rows << " x " << cols);
    const std::vector<double> x = random_values(std::size_t(rows * cols), 3);
    for (const Orthogonalization method : {newton_schulz5, polar_express5}) {
      const auto exact = orthogonal<moe::Cpu<float>>(method, 1, rows, cols, x);
      const auto narrow = orthogonal<moe::Cpu<moe::bfloat16>>(method, 1, rows, cols, x);
      double apart = 0, size = 0;
      for (std::size_t i = 0; i < x.size(); ++i)
        apart += std::pow(narrow[i] - exact[i], 2), size += std::pow(exact[i], 2);
      const double relative = std::sqrt(apart / size);
      CHECK(relative > 0);
      CHECK(relative < 0.1);  // the iteration repeats and enlarges what rounding changed
      for (const double s : singular_values(narrow, rows, cols)) {
        CHECK(s > (method == newton_schulz5 ? 0.66 : 0.82));
        CHECK(s < 1.17);
      }
      CHECK(orthogonal<moe::Cpu<moe::bfloat16>>(method, 1, rows, cols, x, 1) == narrow);
      CHECK(orthogonal<moe::Cpu<moe::bfloat16>>(method, 1, rows, cols, x, 3) == narrow);
    }
  }
}
#endif

TEST_CASE("Orthogonalizer: singular vectors stay, so U X^T is symmetric", "[optim]") {
  const int rows = 4, cols = 7;
  const std::vector<double> x = random_values(std::size_t(rows * cols), 8);
  const auto u = orthogonal<moe::Reference<double>>(polar_express5, 1, rows, cols, x);
  const auto product = [&](int i, int j) {
    double sum = 0;
    for (int k = 0; k < cols; ++k)
      sum += u[std::size_t(i * cols + k)] * x[std::size_t(j * cols + k)];
    return sum;
  };
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < i; ++j) CHECK(std::abs(product(i, j) - product(j, i)) < 1e-12);
}

TEST_CASE("Orthogonalizer: a transposed matrix gives the transposed result", "[identity]") {
  CHECK(transposed_difference<moe::Reference<double>>(5, 12) < 1e-13);
  CHECK(transposed_difference<moe::Reference<double>>(130, 140) < 1e-11);
#ifdef MOE_TEST_HAS_CPU
  CHECK(transposed_difference<moe::Cpu<double>>(130, 200) < 1e-11);
#endif
}

TEST_CASE("Orthogonalizer: strips and mirror images equal the full products", "[identity]") {
  // A block diagonal matrix of two blocks must give each block's result, however it is cut into
  // strips.
  const int n = 66, big = 2 * n;  // big is cut into strips of 33 rows, n is not
  std::vector<double> block = random_values(std::size_t(n * n), 4);
  std::vector<double> x(std::size_t(big * big));
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      x[std::size_t(i * big + j)] = block[std::size_t(i * n + j)];
      x[std::size_t((n + i) * big + n + j)] = block[std::size_t(i * n + j)];
    }
  const auto result = orthogonal<moe::Reference<double>>(polar_express5, 1, big, big, x);
  double off = 0, apart = 0;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      off = std::max(off, std::abs(result[std::size_t(i * big + n + j)]));
      apart = std::max(apart, std::abs(result[std::size_t(i * big + j)] -
                                       result[std::size_t((n + i) * big + n + j)]));
    }
  CHECK(off == 0);
  CHECK(apart < 1e-12);
  for (double s : singular_values(result, big, big)) CHECK(s < 1.15);
}

TEST_CASE("Orthogonalizer: each matrix of a stack is treated on its own", "[identity]") {
  const int rows = 9, cols = 4, count = 3;
  const std::size_t size = std::size_t(rows * cols);
  std::vector<double> stack = random_values(size * count, 6);
  for (std::size_t i = 0; i < size; ++i) stack[size + i] *= 1000;
  const auto together = orthogonal<moe::Reference<float>>(newton_schulz5, count, rows, cols, stack);
  for (std::size_t e = 0; e < count; ++e) {
    const auto first = [&](const std::vector<double>& v) { return v.begin() + long(e * size); };
    const std::vector<double> one(first(stack), first(stack) + long(size));
    const std::vector<double> expected(first(together), first(together) + long(size));
    CHECK(orthogonal<moe::Reference<float>>(newton_schulz5, 1, rows, cols, one) == expected);
  }
}

#ifdef MOE_TEST_HAS_CPU
TEST_CASE("Orthogonalizer: same bits for any number of threads", "[determinism]") {
  const int count = 3, rows = 200, cols = 130;
  const std::vector<double> x = random_values(std::size_t(count * rows * cols), 9);
  const auto expected = orthogonal<moe::Cpu<float>>(newton_schulz5, count, rows, cols, x, 1);
  for (const int threads : {2, 4})
    CHECK(orthogonal<moe::Cpu<float>>(newton_schulz5, count, rows, cols, x, threads) == expected);
}
#endif

TEST_CASE("Orthogonalizer: zeros stay zeros and tiny matrices stay finite", "[edge]") {
  for (const auto method : {newton_schulz5, polar_express5}) {
    const std::vector<double> zeros(2 * 3 * 4);
    CHECK(orthogonal<moe::Reference<float>>(method, 2, 3, 4, zeros) == zeros);
    const std::vector<double> tiny(2 * 3 * 4, 1e-30);
    for (double value : orthogonal<moe::Reference<float>>(method, 2, 3, 4, tiny))
      CHECK(std::isfinite(value));
    const std::vector<double> large(2 * 3 * 4, 1e15);
    for (double value : orthogonal<moe::Reference<float>>(method, 2, 3, 4, large)) {
      CHECK(value > 0.1);
      CHECK(value < 0.5);
    }
  }
}
