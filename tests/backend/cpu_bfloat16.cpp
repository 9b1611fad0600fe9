#include "catch.hpp"
#include "parity.hpp"

// The CPU backend with bfloat16 activations. Products are compared with exact sums of the rounded
// operands, so that the only errors left are those of sums in float and one rounding if C is
// bfloat16.

using namespace moe;
using namespace moe::test;

namespace {

/// Runs a product, call(backend, a, b, c, bias, sign), on the backend and twice on the oracle: with
/// the numbers, and with their magnitudes, to which the error is relative.
template <class A, class B, class C, class Be, class Call>
double verb_error(Be& be, std::size_t a_size, std::size_t b_size, std::size_t c_size,
                  const Call& call) {
  auto a = random_numbers<A>(a_size, 1);
  auto b = random_numbers<B>(b_size, 2);
  const auto bias = random_numbers<float>(4096, 3);
  auto c = random_numbers<C>(c_size, 4);
  auto expected = widened(c), size = magnitudes(expected);
  Reference<double, bfloat16> oracle;
  call(be, a, b, c, bias, 1.0f);
  call(oracle, a, b, expected, widened(bias), 1.0);
  for (A& x : a) x = A(std::abs(float(x)));
  for (B& x : b) x = B(std::abs(float(x)));
  call(oracle, a, b, size, magnitudes(widened(bias)), -1.0);
  return excess(c, expected, size);
}

template <class X>
Matrix<const X> matrix(const std::vector<X>& v, std::ptrdiff_t rows, std::ptrdiff_t cols,
                       bool transposed) {
  return transposed ? Matrix<const X>{v.data(), 1, rows} : Matrix<const X>{v.data(), cols};
}

template <class A, class B, class C, class Be>
double gemm_error(Be& be, int m, int n, int k, bool at, bool bt, bool gathered, int kind) {
  const int ldc = n + 3;
  std::vector<int> row(std::size_t(std::max(m, 1)));
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = int(i * 7 % row.size());
  return verb_error<A, B, C>(
      be, std::size_t(m * k), std::size_t(n * k), std::size_t(m * ldc),
      [&](auto& to, const auto& a, const auto& b, auto& c, const auto& bias, auto sign) {
        auto left = matrix(a, m, k, at);
        if (gathered) left.rows = row.data();
        to.gemm(m, n, k, left, matrix(b, k, n, bt), c.data(), ldc,
                options(kind, sign, bias.data()));
      });
}

/// check(A, B, C) for the operands of every product of a model and its optimizers.
template <class F>
void for_operands(const F& check) {
  const bfloat16 narrow = 0.0f;
  check(narrow, 0.0f, narrow);  // y = x W^T and dx = dy W
  check(narrow, 0.0f, 0.0f);    // logits
  check(0.0f, 0.0f, narrow);    // dx from the gradients of logits
  check(0.0f, narrow, 0.0f);    // dW from the gradients of logits
  check(narrow, narrow, 0.0f);  // dW
  check(0.0f, 0.0f, 0.0f);      // optimizers
}

constexpr double bound = tolerance<float>;

template <class Be>
void check_gemm(Be& be) {
  for_operands([&]<class A, class B, class C>(A, B, C) {
    int kind = 0;
    double worst = 0;
    for (const int m : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 40})
      for (const int n : {1, 3, 16, 17, 33, 48, 49, 100})
        for (const int k : {0, 1, 2, 7, 16, 33, 64, 65}) {
          ++kind;
          const bool gathered = (kind / 16) % 3 == 0;
          worst = std::max(
              worst, gemm_error<A, B, C>(be, m, n, k, kind & 1, kind & 2, gathered, kind / 4));
        }
    CHECK(worst < bound);
    worst = 0;
    for (int i = 0; i < 5; ++i) {
      worst = std::max(worst, gemm_error<A, B, C>(be, 10, 800, 401, i & 1, i & 2, i & 4, i));
      worst = std::max(worst, gemm_error<A, B, C>(be, 800, 10, 401, !(i & 1), i & 2, i & 4, i));
      worst = std::max(worst, gemm_error<A, B, C>(be, 1 + i, 100, 801, false, true, i & 1, i));
    }
    CHECK(worst < bound);
  });
}

template <class Be>
void check_batched(Be& be) {
  for_operands([&]<class A, class B, class C>(A, B, C) {
    for (const int batch : {0, 1, 3})
      for (const int m : {9, 130}) {
        const int n = 70, k = 91;
        const double e = verb_error<A, B, C>(
            be, std::size_t(3 * m * k), std::size_t(3 * n * k), std::size_t(3 * m * n),
            [&](auto& to, const auto& a, const auto& b, auto& c, const auto& bias, auto sign) {
              to.batched_gemm(batch, m, n, k, matrix(a, m, k, false), m * k, matrix(b, k, n, true),
                              n * k, c.data(), n, m * n, options(batch + m, sign, bias.data()));
            });
        CHECK(e < bound);
      }
  });
}

template <class Be>
void check_grouped_m(Be& be) {
  const std::vector<std::vector<int>> splits = {
      {0, 0, 0, 0}, {0, 40}, {0, 1, 1, 40}, {0, 13, 27, 27, 200}, {0, 0, 190, 200}};
  const int n = 77, k = 61, tokens = 50;
  std::vector<int> token(200);
  for (int i = 0; i < 200; ++i) token[std::size_t(i)] = i * 13 % tokens;
  for_operands([&]<class A, class B, class C>(A, B, C) {
    for (const auto& offset : splits)
      for (const int kind : {0, 1, 2, 3, 4}) {
        const bool gathered = kind & 1;
        const int groups = int(offset.size()) - 1;
        const double e = verb_error<A, B, C>(
            be, std::size_t(200 * k), std::size_t(groups * n * k), std::size_t(200 * n),
            [&](auto& to, const auto& a, const auto& b, auto& c, const auto& bias, auto sign) {
              auto rows = matrix(a, 200, k, false);
              if (gathered) rows.rows = token.data();
              to.grouped_gemm_m({groups, offset.back(), offset.data()}, n, k, rows,
                                matrix(b, k, n, kind & 2), n * k, c.data(), n,
                                options(kind, sign, bias.data()), 100);
            });
        CHECK(e < bound);
      }
  });
}

template <class Be>
void check_grouped_k(Be& be) {
  const std::vector<std::vector<int>> splits = {
      {0, 0, 0}, {0, 40}, {0, 1, 1, 40}, {5, 13, 27, 27, 430}, {0, 0, 423, 430}};
  const int m = 25, n = 61;
  std::vector<int> token(430);
  for (int i = 0; i < 430; ++i) token[std::size_t(i)] = i * 13 % 430;
  for_operands([&]<class A, class B, class C>(A, B, C) {
    for (const auto& offset : splits)
      for (const int gathered : {0, 1, 2, 3})
        for (const int kind : {0, 1, 4}) {
          const int groups = int(offset.size()) - 1;
          const double e = verb_error<A, B, C>(
              be, std::size_t(430 * m), std::size_t(430 * n), std::size_t(groups * m * n),
              [&](auto& to, const auto& a, const auto& b, auto& c, const auto&, auto sign) {
                using V = decltype(sign);
                auto left = matrix(a, 430, m, false);
                auto right = matrix(b, 430, n, false);
                if (gathered & 1) left.rows = token.data();
                if (gathered & 2) right.rows = token.data();
                to.grouped_gemm_k({groups, offset.back(), offset.data()}, m, n, left, right,
                                  c.data(), n, m * n, options<V>(kind, sign, nullptr));
              });
          CHECK(e < bound);
        }
  });
}

template <class C>
void append(std::vector<float>& all, const std::vector<C>& c) {
  all.insert(all.end(), c.begin(), c.end());
}

/// The results of all kinds of products. The sizes span several tiles and blocks of k, and are
/// large enough for several threads.
template <class Be>
std::vector<float> all_products(Be& be) {
  const int m = 150, n = 210, k = 701, groups = 4;
  const int offset[] = {0, 10, 10, 131, 150}, longer[] = {0, 3, 300, 300, 701};
  const auto a = random_numbers<bfloat16>(std::size_t(m * k), 5);
  const auto x = random_numbers<bfloat16>(std::size_t(n * k), 8);
  const auto w = random_numbers<float>(std::size_t(groups * n * k), 6);
  std::vector<float> all;
  auto narrow = random_numbers<bfloat16>(std::size_t(groups * m * n), 7);
  auto wide = random_numbers<float>(std::size_t(groups * m * n), 7);
  const auto left = matrix(a, m, k, false);
  const GemmOptions<float> add{1, 1, nullptr};
  be.gemm(m, n, k, left, matrix(w, k, n, true), narrow.data(), n, {1, 1, w.data()});
  append(all, narrow);
  be.gemm(m, n, k, left, matrix(w, k, n, true), wide.data(), n, {1, 0, nullptr, Precision::exact});
  append(all, wide);
  be.batched_gemm(2, 70, n, k, left, 70 * k, matrix(w, k, n, false), n * k, wide.data(), n, m * n,
                  add);
  append(all, wide);
  be.grouped_gemm_m({groups, offset[groups], offset}, n, k, left, matrix(w, k, n, true), n * k,
                    narrow.data(), n, add);
  append(all, narrow);
  be.grouped_gemm_k({groups, longer[groups], longer}, m, n, matrix(a, k, m, false),
                    matrix(x, k, n, false), wide.data(), n, m * n, add);
  append(all, wide);
  return all;
}

template <class Be>
void check_rows_alone(Be& be) {
  const int m = 61, n = 130, k = 1101;
  const auto a = random_numbers<bfloat16>(std::size_t(m * k), 8);
  const auto b = random_numbers<float>(std::size_t(n * k), 9);
  std::vector<float> all(std::size_t(m * n)), alone(std::size_t(m * n));
  const GemmOptions<float> o{2, 0, b.data()};
  be.gemm(m, n, k, matrix(a, m, k, false), matrix(b, k, n, true), all.data(), n, o);
  for (const int together : {1, 2, 3, 7, 14}) {
    for (int i = 0; i < m; i += together)
      be.gemm(std::min(together, m - i), n, k, Matrix<const bfloat16>{a.data() + i * k, k},
              matrix(b, k, n, true), alone.data() + i * n, n, o);
    CHECK(same_bits(all, alone));
  }
}

/// Runs a check for both ways of computing products. If the processor supports only one, it runs
/// twice.
template <class F>
void for_both_ways(const F& check) {
  for (const Bf16Products how : {Bf16Products::widened, Bf16Products::dot}) {
    Cpu<bfloat16> products(2, how);
    check(products);
  }
}

const Dropout dropout{0.3, 11, stream(3, 1, RandomStream::attention_dropout)};

std::vector<AttentionShape> attention_shapes() {
  std::vector<AttentionShape> shapes;
  for (const int dim : {1, 8, 48, 64, 104}) shapes.push_back({2, 37, 37, 37, 2, 2, dim});
  shapes.push_back({1, 70, 70, 70, 4, 2, 16, dropout});
  shapes.push_back({2, 33, 33, 40, 6, 1, 8, dropout});
  shapes.push_back({2, 5, 61, 64, 2, 2, 24});
  shapes.push_back({3, 1, 17, 32, 4, 2, 8, dropout});
  shapes.push_back({1, 1, 1, 1, 1, 1, 64});
  shapes.push_back({1, 150, 150, 150, 4, 1, 48, dropout});
  return shapes;
}

}  // namespace

TEST_CASE("Cpu<bfloat16>: gemm agrees with exact sums of rounded operands", "[mixed][parity]") {
  for_both_ways([](auto& products) { check_gemm(products); });
}

TEST_CASE("Cpu<bfloat16>: batched_gemm agrees with the oracle", "[mixed][parity]") {
  for_both_ways([](auto& products) { check_batched(products); });
}

TEST_CASE("Cpu<bfloat16>: grouped_gemm_m agrees with the oracle", "[mixed][parity]") {
  for_both_ways([](auto& products) { check_grouped_m(products); });
}

TEST_CASE("Cpu<bfloat16>: grouped_gemm_k agrees with the oracle", "[mixed][parity]") {
  for_both_ways([](auto& products) { check_grouped_k(products); });
}

TEST_CASE("Cpu<bfloat16>: gemm with beta 0 never reads C, nor writes beside it", "[mixed][edge]") {
  Cpu<bfloat16> cpu{1};
  for (const int n : {5, 33}) {
    const int ldc = n + 7, m = 15;
    const std::vector<bfloat16> a(std::size_t(m * 3), 1.0f);
    const std::vector<float> b(std::size_t(3 * n), 1.0f);
    std::vector<bfloat16> c(std::size_t((m + 1) * ldc), std::nanf(""));
    cpu.gemm(m, n, 3, {a.data(), 3}, Matrix<const float>{b.data(), n}, c.data(), ldc);
    int three = 0, nan = 0;
    for (const float x : c) three += x == 3, nan += std::isnan(x);
    CHECK(three == m * n);
    CHECK(nan == (m + 1) * ldc - m * n);
  }
}

TEST_CASE("Cpu<bfloat16>: products have the same bits for every number of threads",
          "[mixed][determinism]") {
  Cpu<bfloat16> one{1}, two{2}, three{3};
  const auto expected = all_products(one);
  CHECK(same_bits(expected, all_products(two)));
  CHECK(same_bits(expected, all_products(three)));
}

TEST_CASE("Cpu<bfloat16>: both ways of making products have the same bits",
          "[mixed][determinism]") {
  Cpu<bfloat16> measured{2};
  const auto expected = all_products(measured);
  for_both_ways([&](auto& products) { CHECK(same_bits(expected, all_products(products))); });
}

TEST_CASE("Cpu<bfloat16>: a row of a product has the same bits alone and among others",
          "[mixed][determinism]") {
  for_both_ways([](auto& products) { check_rows_alone(products); });
}

TEST_CASE("Cpu<bfloat16>: attention and its gradient agree with the oracle", "[mixed][parity]") {
  for_both_ways([](auto& cpu) {
    for (const AttentionShape& s : attention_shapes())
      check_attention(
          s, [&](auto& t) { t.forward(cpu, s); }, [&](auto& t) { t.backward(cpu, s); });
  });
}

TEST_CASE("Cpu<bfloat16>: attention has the same bits for every number of threads, both ways",
          "[mixed][determinism]") {
  std::vector<AttentionShape> shapes = attention_shapes();
  shapes.push_back({1, 150, 150, 150, 4, 2, 24, dropout});
  shapes.push_back({5, 50, 50, 60, 2, 1, 40});
  shapes.push_back({2, 17, 33, 40, 2, 1, 7});  // odd sums over head, keys and queries
  for (const AttentionShape& s : shapes) {
    INFO("queries " << s.queries << " keys " << s.keys << " head_dim " << s.head_dim);
    Cpu<bfloat16> serial{1};
    Tensors<bfloat16, float> one(s);
    one.run(serial, s);
    const auto check = [&](auto& cpu) {
      Tensors<bfloat16, float> many(s);
      many.run(cpu, s);
      check_same_bits(one, many);
    };
    Cpu<bfloat16> three{3};
    check(three);
    for_both_ways(check);
  }
}
