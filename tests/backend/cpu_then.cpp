#include <moe/backend/then.hpp>

#include "catch.hpp"
#include "parity.hpp"

using namespace moe;
using namespace moe::test;

namespace {

/// Keeps each row of C as it finds it, doubles it, counts the rows, and notes what the last row of
/// C holds when it is run on the first.
template <class T>
struct Finish {
  static constexpr T untouched = T(-77.0f);
  Table<T> c, kept;
  int* visits;
  T* last_row_at_first;
  const T* last_row;

  void operator()(const auto& group, int r) const {
    group.for_each(c.cols, [&](auto i) {
      kept[r][i] = c[r][i];
      c[r][i] = c[r][i] + c[r][i];
    });
    group.once([&] {
      ++visits[r];
      if (r == 0) *last_row_at_first = *last_row;
    });
  }
};

/// What a product and its kernel write.
template <class T>
struct Results {
  std::vector<T> c, kept;
  std::vector<int> visits;
  T last_row_at_first = T(0.0f);

  Results(int m, int n)
      : c(std::size_t(m) * std::size_t(n), Finish<T>::untouched),
        kept(c.size()),
        visits(std::size_t(m)) {}
  Finish<T> kernel(int n) {
    return {{c.data(), n},
            {kept.data(), n},
            visits.data(),
            &last_row_at_first,
            c.data() + c.size() - std::size_t(n)};
  }
};

/// Checks that the results of `fused` have the bits of those of `apart`, in which product and
/// kernel are two verbs, and that each row was visited once.
template <class T>
void check_same(const Results<T>& fused, const Results<T>& apart) {
  CHECK(same_bits(fused.c, apart.c));
  CHECK(same_bits(fused.kept, apart.kept));
  CHECK(fused.visits == std::vector<int>(fused.visits.size(), 1));
}

struct Shape {
  int m, n, k;
};
/// Few rows, some groups of rows, several blocks of columns, several blocks of the sum, all of
/// them, and more columns than rows.
constexpr Shape shapes[] = {{1, 40, 30},    {8, 33, 64},    {9, 5, 1},       {200, 65, 40},
                            {300, 70, 500}, {95, 1700, 30}, {700, 850, 800}, {40, 3000, 200}};

/// `W` is the type of weights. C is of type T.
template <class T, class W, class Be>
void check_gemm(Be& be, Shape s, bool gathered, Wide<Be> beta) {
  const auto a = random_numbers<T>(std::size_t(s.m) * std::size_t(s.k), 1);
  const auto b = random_numbers<W>(std::size_t(s.n) * std::size_t(s.k), 2);
  const auto bias = random_numbers<Wide<Be>>(std::size_t(s.n), 3);
  std::vector<int> row(std::size_t(s.m));
  for (int i = 0; i < s.m; ++i) row[std::size_t(i)] = i * 7 % s.m;
  const Matrix<const T> left{a.data(), s.k, 1, gathered ? row.data() : nullptr};
  const Matrix<const W> right{b.data(), 1, s.k};
  const GemmOptions<Wide<Be>> o{.beta = beta, .bias = bias.data()};
  INFO(s.m << " x " << s.n << " x " << s.k << ", " << be.describe());
  Results<T> fused(s.m, s.n), apart(s.m, s.n);
  gemm_then(be, s.m, s.n, s.k, left, right, fused.c.data(), s.n, o, fused.kernel(s.n));
  be.gemm(s.m, s.n, s.k, left, right, apart.c.data(), s.n, o);
  be.rows(s.m, apart.kernel(s.n));
  check_same(fused, apart);
}

template <class T, class W, class Be>
void check_grouped(Be& be, int n, int k) {
  const int offset[] = {0, 0, 130, 137, 137, 400}, groups = 5, m = 400, tokens = 90;
  const auto a = random_numbers<T>(std::size_t(tokens * k), 1);
  const auto b = random_numbers<W>(std::size_t(groups * n * k), 2);
  const auto bias = random_numbers<Wide<Be>>(std::size_t(groups * n), 3);
  std::vector<int> row(std::size_t{m});
  for (int i = 0; i < m; ++i) row[std::size_t(i)] = i * 7 % tokens;
  const Matrix<const T> left{a.data(), k, 1, row.data()};
  const Matrix<const W> right{b.data(), 1, k};
  const Segments slots{groups, m, offset};
  const GemmOptions<Wide<Be>> o{.bias = bias.data()};
  INFO(n << " x " << k << ", " << be.describe());
  Results<T> fused(m, n), apart(m, n);
  grouped_gemm_m_then(be, slots, n, k, left, right, n * k, fused.c.data(), n, o, n,
                      fused.kernel(n));
  be.grouped_gemm_m(slots, n, k, left, right, n * k, apart.c.data(), n, o, n);
  be.rows(m, apart.kernel(n));
  check_same(fused, apart);
}

template <class T, class W, class Be>
void check_all(Be& be) {
  for (const Shape s : shapes)
    for (const bool gathered : {false, true})
      check_gemm<T, W>(be, s, gathered, Wide<Be>(gathered ? 1 : 0));
  check_grouped<T, W>(be, 48, 40);
  check_grouped<T, W>(be, 850, 500);
}

}  // namespace

TEST_CASE("Cpu: a product with a kernel has the bits of the product and then the kernel",
          "[parity]") {
  for (const int threads : {1, 2, 3}) {
    Cpu<float> floats{threads};
    check_all<float, float>(floats);
    Cpu<double> doubles{threads};
    check_all<double, double>(doubles);
    for (const auto way : {Bf16Products::widened, Bf16Products::measured}) {
      Cpu<bfloat16> narrow{threads, way};
      check_all<bfloat16, float>(narrow);
      check_all<bfloat16, bfloat16>(narrow);
    }
  }
  Reference<double> reference;
  check_gemm<double, double>(reference, {9, 12, 5}, true, 1);
  check_grouped<double, double>(reference, 8, 6);
}

TEST_CASE("Cpu: a kernel runs on the rows of a product that are complete, before the next ones") {
  Cpu<bfloat16> be{1};
  const int n = 40, rows = 700;
  for (const int k : {30, 800}) {
    const auto a = random_numbers<bfloat16>(std::size_t(rows * k), 1);
    const auto b = random_numbers<float>(std::size_t(n * k), 2);
    Results<bfloat16> got(rows, n);
    gemm_then(be, rows, n, k, Matrix<const bfloat16>{a.data(), k},
              Matrix<const float>{b.data(), 1, k}, got.c.data(), n, {}, got.kernel(n));
    CHECK(float(got.last_row_at_first) == float(Finish<bfloat16>::untouched));

    const int offset[] = {0, rows / 2, rows};
    Results<bfloat16> grouped(rows, n);
    grouped_gemm_m_then(be, Segments{2, rows, offset}, n, k, Matrix<const bfloat16>{a.data(), k},
                        Matrix<const float>{b.data(), 1, k}, 0, grouped.c.data(), n, {}, 0,
                        grouped.kernel(n));
    CHECK(float(grouped.last_row_at_first) == float(Finish<bfloat16>::untouched));
  }
}

TEST_CASE("Cpu: the kernel of a product of no columns or no terms runs all the same", "[edge]") {
  Cpu<float> be{2};
  int visits[3] = {};
  const float x = 1;
  float y[3] = {};
  const auto count = [&](const auto&, int r) { ++visits[r]; };
  gemm_then(be, 3, 0, 1, Matrix<const float>{&x, 0}, Matrix<const float>{&x, 1}, y, 1, {}, count);
  gemm_then(be, 3, 1, 0, Matrix<const float>{&x, 0}, Matrix<const float>{&x, 1}, y, 1, {}, count);
  gemm_then(be, 0, 1, 1, Matrix<const float>{&x, 0}, Matrix<const float>{&x, 1}, y, 1, {}, count);
  CHECK(visits[0] == 2);
  CHECK(visits[1] == 2);
  CHECK(visits[2] == 2);
}
