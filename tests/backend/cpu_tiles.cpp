#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <moe/backend/cpu/attention/attention.hpp>
#include <moe/backend/cpu/gemm/tile_product.hpp>
#include <vector>

#include "catch.hpp"
#include "parity.hpp"
#include "skip.hpp"

// Products on the matrix unit (AMX). On every machine the loops run on tiles in plain C++; where
// the processor has tiles, ./dev nightly compares both bit for bit.

namespace {

using namespace moe;
using namespace moe::detail;
using namespace moe::test;
using WeightElement = Rounded<float, bfloat16>;  // a float that packing rounds

constexpr float infinite = std::numeric_limits<float>::infinity();
constexpr float largest = std::numeric_limits<float>::max();

/// Floats at the edges of what is finite, normal, or exactly between two bfloat16 numbers, and NaN
/// with bits in its upper half, its lower half and both.
constexpr float unusual[] = {0.0f,
                             -0.0f,
                             1.0f,
                             -1e-44f,
                             0x1p-126f,
                             0x1.234566p-120f,
                             -0x1.FFFFFEp-126f,
                             0x0.FFFFFEp-126f,
                             0x1.FFFFFEp0f,
                             0x1.01p0f,
                             -0x1.03p0f,
                             0x1.010102p0f,
                             0x1.FEFFFEp127f,
                             0x1.FFp127f,
                             -0x1.FF0002p127f,
                             largest,
                             infinite,
                             -infinite,
                             __builtin_bit_cast(float, 0x7FC00000u),
                             __builtin_bit_cast(float, 0x7F800001u),
                             __builtin_bit_cast(float, 0xFFFFFFFFu)};

template <class E>
std::vector<E> elements(std::size_t count, std::uint64_t which) {
  std::vector<E> all(count);
  for (std::size_t i = 0; i < count; ++i) {
    const float x = float(normal(17, which, i));
    if constexpr (std::is_same_v<E, WeightElement>)
      all[i].value = x;
    else
      all[i] = E(x);
  }
  return all;
}

/// Layouts of an operand: along the sum, along the rows, rows or terms by a table,
/// and along neither.
enum class Layout { rows, columns, gathered_rows, gathered_terms, strided };
constexpr Layout layouts[] = {Layout::rows, Layout::columns, Layout::gathered_rows,
                              Layout::gathered_terms, Layout::strided};

template <class E>
struct Numbers {
  std::vector<E> data;
  std::vector<int> table;
  Operand<E> operand;

  Numbers(int rows, int terms, Layout layout, std::uint64_t which)
      : data(elements<E>(std::size_t(2 * rows * terms + 64), which)),
        table(std::size_t(std::max(rows, terms) + 1)) {
    const bool of_rows = layout == Layout::gathered_rows;
    for (std::size_t i = 0; i < table.size(); ++i)
      table[i] = int(i * 7 % std::size_t(std::max(1, of_rows ? rows : terms)));
    operand = {data.data(), terms, 1};
    if (layout == Layout::columns || layout == Layout::gathered_terms)
      operand = {data.data(), 1, rows};
    if (of_rows) operand.i_table = table.data();
    if (layout == Layout::gathered_terms) operand.l_table = table.data();
    if (layout == Layout::strided) operand = {data.data(), 2 * terms, 2};
  }
  Numbers(const Numbers&) = delete;
  double at(int i, int l) const {
    const Operand<E>& x = operand;
    const E e = x.step(l)[(x.i_table ? x.i_table[i] : i) * x.i_stride];
    if constexpr (std::is_same_v<E, WeightElement>)
      return float(bfloat16(e.value));
    else
      return float(e);
  }
};

struct Space {
  Workspace memory;
  Space() { memory.reserve(Gemm<float, bfloat16>::bytes_of_thread()); }
  float* begin() const { return memory.as<float>(); }
};

/// The bias of column j is bias_of_columns(n)[j], for any n.
std::vector<float> bias_of_columns(int n) {
  return random_numbers<float>(std::size_t(n), 3);
}

/// 1.5 a b + bias + 0.5 c for c = 0.25, of the columns from number `first` on of a larger product.
/// multiply(m, n, k, a, b, c, ldc, options, workspace) makes it.
template <class C, class A, class B, class Multiply>
std::vector<C> product(int m, int n, int k, const Operand<A>& a, const Operand<B>& b, int first,
                       const Multiply& multiply) {
  const Space space;
  const std::vector<float> bias = bias_of_columns(first + n);
  std::vector<C> c(std::size_t(m) * std::size_t(n), C(0.25f));
  const GemmOptions<float> options{1.5f, 0.5f, bias.data() + first};
  multiply(m, n, k, a, b, c.data(), n, options, space.begin());
  return c;
}
template <class Unit, class Packing, class C, class A, class B>
std::vector<C> product(int m, int n, int k, const Operand<A>& a, const Operand<B>& b,
                       int first = 0) {
  return product<C>(m, n, k, a, b, first,
                    [](const auto&... all) { multiply_on_tiles<Unit, Packing>(all...); });
}

/// The largest error of such a product, less the rounding of a bfloat16 C, relative to the sum of
/// the magnitudes that were added.
template <class C, class A, class B>
double largest_error(int m, int n, int k, const Numbers<A>& a, const Numbers<B>& b,
                     const std::vector<C>& got) {
  const auto bias = bias_of_columns(n);
  double worst = 0;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = bias[std::size_t(j)] + 0.125, size = std::abs(sum);
      for (int l = 0; l < k; ++l) {
        const double term = 1.5 * a.at(i, l) * b.at(j, l);
        sum += term, size += std::abs(term);
      }
      const double x = double(got[std::size_t(i * n + j)]);
      const double rounding = sizeof(C) == 2 ? std::abs(sum) / 256 : 0;
      const double excess = (std::abs(x - sum) - rounding) / size;
      worst = std::isnan(excess) ? INFINITY : std::max(worst, excess);
    }
  return worst;
}

template <class A, class B, class C>
void check_product(int m, int n, int k, Layout left, Layout right) {
  const Numbers<A> a(m, k, left, 1);
  const Numbers<B> b(n, k, right, 2);
  const auto got = product<EmulatedTiles, PlainPacking, C>(m, n, k, a.operand, b.operand);
  INFO(m << " x " << n << " x " << k << ", layouts " << int(left) << " and " << int(right));
  CHECK(largest_error(m, n, k, a, b, got) <= 1e-6);
}

/// Checks that the largest error of a float product is at most `ratio` times that of the chain of
/// multiply-adds.
void check_split(int m, int n, int k, Layout left, Layout right, double ratio = 1) {
  const Numbers<float> a(m, k, left, 1), b(n, k, right, 2);
  const auto split = product<EmulatedTiles, PlainPacking, float>(m, n, k, a.operand, b.operand);
  const auto fma = product<float>(m, n, k, a.operand, b.operand, 0,
                                  [](const auto&... all) { multiply<Widened>(all...); });
  INFO(m << " x " << n << " x " << k << ", layouts " << int(left) << " and " << int(right));
  CHECK(largest_error(m, n, k, a, b, split) <= ratio * largest_error(m, n, k, a, b, fma));
}

/// The error of float products on tiles over that of multiply-adds: root mean squares over six
/// products of 40 x 40 elements with k terms.
double split_error(int k) {
  constexpr int m = 40, n = 40;
  const Space space;
  double split = 0, fma = 0;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const Numbers<float> a(m, k, Layout::rows, 10 + 2 * seed), b(n, k, Layout::rows, 11 + 2 * seed);
    std::vector<float> on_tiles(m * n), chained(m * n);
    multiply_on_tiles<EmulatedTiles, PlainPacking>(m, n, k, a.operand, b.operand, on_tiles.data(),
                                                   n, GemmOptions<float>{}, space.begin());
    multiply<Widened>(m, n, k, a.operand, b.operand, chained.data(), n, GemmOptions<float>{},
                      space.begin());
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int l = 0; l < k; ++l) sum += a.at(i, l) * b.at(j, l);
        split += std::pow(on_tiles[std::size_t(i * n + j)] - sum, 2);
        fma += std::pow(chained[std::size_t(i * n + j)] - sum, 2);
      }
  }
  return std::sqrt(split / fma);
}

/// An element of a float product: the sum of left[l] * right[l].
float sum_of_products(const std::vector<float>& left, const std::vector<float>& right) {
  const Space space;
  float sum;
  multiply_on_tiles<EmulatedTiles, PlainPacking>(
      1, 1, int(left.size()), Operand<float>{left.data(), 0, 1}, Operand<float>{right.data(), 0, 1},
      &sum, 1, GemmOptions<float>{}, space.begin());
  return sum;
}

template <class E>
void check_groups() {
  constexpr int m = 70, n = 50, k = 1700;
  const Numbers<E> a(m, k, Layout::rows, 1), b(n, k, Layout::rows, 2);
  const auto all = product<EmulatedTiles, PlainPacking, float>(m, n, k, a.operand, b.operand);
  for (int i = 0; i < m; i += 23)
    for (int j = 0; j < n; j += 33) {
      const int rows = std::min(23, m - i), cols = std::min(33, n - j);
      const auto part = product<EmulatedTiles, PlainPacking, float>(
          rows, cols, k, a.operand.from(i, 0), b.operand.from(j, 0), j);
      std::vector<float> expected;
      for (int r = i; r < i + rows; ++r)
        expected.insert(expected.end(), &all[std::size_t(r * n + j)],
                        &all[std::size_t(r * n + j)] + cols);
      INFO(rows << " rows from " << i << ", " << cols << " columns from " << j);
      CHECK(same_bits(part, expected));
    }
}

/// Notes the rows of C, which have n columns, as it is told that they are complete.
template <class C>
struct Watch {
  const C* c;
  C* seen;
  int* times;
  int n;
};
/// Checks that a product tells of each row once, when it is complete.
template <class C, class E>
void check_rows_after(int m, int n, int k) {
  const Space space;
  const Numbers<E> a(m, k, Layout::gathered_rows, 1), b(n, k, Layout::rows, 2);
  const auto rows = std::size_t(m), numbers = rows * std::size_t(n);
  std::vector<C> c(numbers, C(NAN)), seen(numbers);
  std::vector<int> times(rows);
  const Watch<C> watch{c.data(), seen.data(), times.data(), n};
  const auto note = [](const void* of, int first, int end) {
    const auto& w = *static_cast<const Watch<C>*>(of);
    for (int r = first; r < end; ++r) {
      ++w.times[r - 5];
      std::copy_n(w.c + (r - 5) * w.n, w.n, w.seen + (r - 5) * w.n);
    }
  };
  multiply_on_tiles<EmulatedTiles, PlainPacking>(m, n, k, a.operand, b.operand, c.data(), n,
                                                 GemmOptions<float>{}, space.begin(),
                                                 RowsAfter{note, &watch, 5});
  INFO(m << " x " << n << " x " << k);
  CHECK(times == std::vector<int>(rows, 1));
  CHECK(same_bits(seen, c));
}

}  // namespace

TEST_CASE("Tiles: a product tells of its rows when they are complete", "[tiles]") {
  for (const auto& [m, n, k] :
       {std::array{1, 40, 30}, std::array{70, 33, 64}, std::array{33, 400, 1500},
        std::array{700, 20, 1600}, std::array{40, 20, 0}}) {
    check_rows_after<float, bfloat16>(m, n, k);
    check_rows_after<bfloat16, bfloat16>(m, n, k);
    check_rows_after<float, float>(m, n, k);
  }
}

TEST_CASE("Tiles: products agree with exact sums of the rounded operands", "[tiles][parity]") {
  for (const Layout left : layouts)
    for (const Layout right : layouts) {
      check_product<bfloat16, WeightElement, bfloat16>(33, 17, 100, left, right);
      check_product<bfloat16, bfloat16, float>(40, 70, 64, left, right);
      check_product<WeightElement, bfloat16, float>(3, 33, 33, left, right);
    }
  for (const int k : {0, 1, 2, 31, 32, 1536, 1537, 2100}) {
    check_product<bfloat16, WeightElement, bfloat16>(34, 20, k, Layout::rows, Layout::rows);
    check_product<bfloat16, bfloat16, float>(34, 20, k, Layout::columns, Layout::columns);
  }
  // More columns than one block of B holds.
  check_product<bfloat16, bfloat16, float>(2, 400, 1500, Layout::rows, Layout::rows);
}

TEST_CASE("Tiles: float products are as accurate as multiply-adds", "[tiles][parity]") {
  for (const Layout left : layouts)
    for (const Layout right : layouts) check_split(33, 17, 100, left, right);
  for (const int k : {0, 4, 31, 32, 33, 512, 513, 1100})
    for (const Layout layout : {Layout::rows, Layout::columns})
      check_split(34, 20, k, layout, layout);
  // The products that are left out show in sums of few terms.
  for (const int k : {1, 2, 3}) check_split(34, 20, k, Layout::rows, Layout::rows, 1.8);
  // More columns than one block of B holds.
  check_split(2, 400, 500, Layout::rows, Layout::rows);
}

TEST_CASE("Tiles: errors of float products over many sums", "[tiles][parity]") {
  for (const auto& [k, most] : std::map<int, double>{{1, 1.15},
                                                     {2, 0.95},
                                                     {4, 0.8},
                                                     {8, 0.65},
                                                     {64, 0.6},
                                                     {128, 0.35},
                                                     {256, 0.35},
                                                     {1100, 0.35}}) {
    CAPTURE(k);
    CHECK(split_error(k) < most);
  }
}

TEST_CASE("Tiles: a float is the exact sum of its three parts", "[tiles]") {
  const auto check = [](float x) {
    if (!std::isfinite(x) || std::abs(x) < 0x1p-103f) return;
    double sum = 0;
    for (const std::uint32_t bits : bf16_parts(x)) sum += __builtin_bit_cast(float, bits << 16);
    CAPTURE(x);
    CHECK(sum == double(x));
  };
  for (const float x : unusual) check(x);
  for (std::uint64_t i = 0; i < 1000; ++i)
    for (const std::uint32_t bits : philox(17, 4, i).word) check(__builtin_bit_cast(float, bits));
}

TEST_CASE("Tiles: float products of infinities, NaN, large and small numbers", "[tiles][edge]") {
  constexpr float inf = infinite;
  // The lower parts of 1 are 0, those of the others are not, and have both signs.
  for (const float x : {1.0f, 0.1f, 0x1.FFFFFEp-9f, 3e38f, 1e-30f}) {
    CAPTURE(x);
    CHECK(sum_of_products({inf}, {x}) == inf);
    CHECK(sum_of_products({x}, {inf}) == inf);
    CHECK(sum_of_products({-inf}, {x}) == -inf);
    CHECK(sum_of_products({x, 5, 0}, {-inf, 7, 3}) == -inf);
    CHECK(std::isnan(sum_of_products({inf, -inf}, {x, x})));
    for (const std::uint32_t bits : {0x7FC00000u, 0x7F800001u, 0xFFFFFFFFu}) {
      const float nan = __builtin_bit_cast(float, bits);
      CHECK(std::isnan(sum_of_products({nan}, {x})));
      CHECK(std::isnan(sum_of_products({x, inf}, {nan, x})));
    }
  }
  CHECK(std::isnan(sum_of_products({inf}, {0})));
  CHECK(std::isnan(sum_of_products({0, 1}, {inf, 1})));
  CHECK(sum_of_products({inf}, {inf}) == inf);
  for (const float x : {largest, 0x1.FEFFFEp127f, 0x1.FFp127f, 0x1.FF0002p127f, 0x1.0p127f}) {
    CHECK(sum_of_products({x}, {1}) == x);
    CHECK(sum_of_products({-0.5f}, {x}) == -0.5f * x);
    CHECK(sum_of_products({x, 1}, {2, 1}) == inf);
  }
  // Parts below 2^-126 count as 0.
  CHECK(sum_of_products({0x1.234567p-103f}, {1}) == 0x1.234567p-103f);
  CHECK(sum_of_products({0x1.000002p-104f}, {1}) == 0x1p-104f);
  CHECK(sum_of_products({0x1p-130f}, {1}) == 0);

  // What is not finite in a row or column does not change other elements.
  std::vector<float> a = random_numbers<float>(20 * 7, 1), b = random_numbers<float>(20 * 7, 2);
  const auto all = [&] {
    return product<EmulatedTiles, PlainPacking, float>(20, 20, 7, Operand<float>{a.data(), 7, 1},
                                                       Operand<float>{b.data(), 7, 1});
  };
  const auto before = all();
  a[3 * 7 + 2] = inf, b[18 * 7 + 5] = __builtin_bit_cast(float, 0x7F800001u);
  const auto after = all();
  for (int i = 0; i < 20; ++i)
    for (int j = 0; j < 20; ++j) {
      const float x = after[std::size_t(i * 20 + j)];
      CAPTURE(i, j);
      if (j == 18)
        CHECK(std::isnan(x));
      else if (i == 3)
        CHECK(std::isinf(x));
      else
        CHECK(x == before[std::size_t(i * 20 + j)]);
    }
}

TEST_CASE("Tiles: an element has the same bits in any product that contains it",
          "[tiles][determinism]") {
  check_groups<bfloat16>();
  check_groups<float>();
}

namespace {

const Dropout dropout{0.3, 11, stream(3, 1, RandomStream::attention_dropout)};

using AttentionTensors = Tensors<bfloat16, float>;
template <class Kernel>
void forward(BlockAttention<float, bfloat16>& be, const AttentionShape& s, AttentionTensors& t) {
  be.forward_with<Kernel>(s, t.q.data(), t.k.data(), t.v.data(), t.out.data(), t.lse.data());
}
template <class Kernel>
void backward(BlockAttention<float, bfloat16>& be, const AttentionShape& s, AttentionTensors& t) {
  be.backward_with<Kernel>(s, t.q.data(), t.k.data(), t.v.data(), t.out.data(), t.dout.data(),
                           t.lse.data(), t.dq.data(), t.dk.data(), t.dv.data());
}
template <class Kernel>
void run_attention(BlockAttention<float, bfloat16>& be, const AttentionShape& s,
                   AttentionTensors& t) {
  forward<Kernel>(be, s, t);
  backward<Kernel>(be, s, t);
}
template <class Unit, class Packing>
AttentionTensors attention(const AttentionShape& s, int threads) {
  AttentionTensors t(s);
  BlockAttention<float, bfloat16> be(threads);
  run_attention<OnTiles<Unit, Packing>>(be, s, t);
  return t;
}
std::vector<AttentionShape> attention_shapes() {
  std::vector<AttentionShape> shapes;
  for (const int dim : {1, 32, 48, 64, 104, 128}) shapes.push_back({1, 37, 37, 37, 2, 2, dim});
  shapes.push_back({1, 70, 70, 70, 4, 2, 16, dropout});
  shapes.push_back({2, 33, 33, 40, 3, 1, 8, dropout});
  shapes.push_back({2, 5, 61, 64, 2, 2, 24});
  shapes.push_back({3, 1, 17, 32, 4, 2, 8, dropout});
  shapes.push_back({1, 1, 1, 1, 1, 1, 64});
  return shapes;
}

}  // namespace

TEST_CASE("Tiles: attention and its gradient agree with the oracle", "[tiles][parity]") {
  using Kernel = OnTiles<EmulatedTiles, PlainPacking>;
  BlockAttention<float, bfloat16> be(1);
  for (const AttentionShape& s : attention_shapes())
    check_attention(
        s, [&](auto& t) { forward<Kernel>(be, s, t); },
        [&](auto& t) { backward<Kernel>(be, s, t); });
}

TEST_CASE("Attention does not see what an earlier call left in its memory", "[tiles][edge]") {
  const auto check = []<class Kernel>(Kernel) {
    for (const AttentionShape& s : {AttentionShape{2, 9, 61, 64, 4, 2, 24},
                                    AttentionShape{1, 17, 33, 40, 2, 2, 24, dropout}}) {
      BlockAttention<float, bfloat16> be(1);
      const AttentionShape larger{1, 70, 70, 70, 2, 2, 40, dropout};
      AttentionTensors poison(larger);
      std::fill(poison.q.begin(), poison.q.end(), std::nanf(""));
      std::fill(poison.k.begin(), poison.k.end(), std::nanf(""));
      std::fill(poison.v.begin(), poison.v.end(), std::nanf(""));
      run_attention<Kernel>(be, larger, poison);
      AttentionTensors t(s);
      run_attention<Kernel>(be, s, t);
      BlockAttention<float, bfloat16> fresh(1);
      AttentionTensors expected(s);
      run_attention<Kernel>(fresh, s, expected);
      INFO("queries " << s.queries << " keys " << s.keys);
      check_same_bits(t, expected);
    }
  };
  check(OnTiles<EmulatedTiles, PlainPacking>{});
  check(Widened{});
#ifdef __AVX512BF16__
  check(Dot{});
#endif
}

TEST_CASE("Tiles: attention has the same bits for any threads and any number of queries",
          "[tiles][determinism]") {
  for (const AttentionShape& s :
       {AttentionShape{1, 70, 70, 70, 4, 2, 24, dropout}, AttentionShape{3, 40, 40, 50, 2, 1, 40}})
    check_same_bits(attention<EmulatedTiles, PlainPacking>(s, 1),
                    attention<EmulatedTiles, PlainPacking>(s, 3));
  const AttentionShape whole{1, 70, 70, 70, 2, 1, 20};
  AttentionTensors t = attention<EmulatedTiles, PlainPacking>(whole, 1);
  const std::ptrdiff_t row = whole.heads * whole.head_dim;
  BlockAttention<float, bfloat16> be(1);
  for (const int queries : {1, 3, 33})
    for (const int keys : {40, 65, 70}) {
      AttentionShape s = whole;
      s.queries = queries, s.keys = keys;
      const std::ptrdiff_t at = (keys - queries) * row, size = queries * row;
      std::vector<bfloat16> out(static_cast<std::size_t>(size));
      std::vector<float> lse(std::size_t(queries * s.heads));
      be.forward_with<OnTiles<EmulatedTiles, PlainPacking>>(s, t.q.data() + at, t.k.data(),
                                                            t.v.data(), out.data(), lse.data());
      CHECK(same_bits(out, std::vector<bfloat16>(t.out.begin() + at, t.out.begin() + at + size)));
    }
}

TEST_CASE("Tiles: a product of tiles rounds as the processor does", "[tiles]") {
  EmulatedTiles tiles;
  PackedTile a{}, b{};
  float c[tile_side][tile_side] = {};
  const auto multiplied = [&] {
    tiles.load<0>(c, sizeof c[0]);
    tiles.load<1>(&a, sizeof a.word[0]);
    tiles.load<2>(&b, sizeof b.word[0]);
    tiles.multiply<0, 1, 2>();
    float to[tile_side][tile_side];
    tiles.store<0>(to, sizeof to[0]);
    return to[0][0];
  };
  const auto set = [&](int term, float left, float right) {
    const auto put = [&](std::uint32_t& word, float x) {
      const std::uint32_t bits = bfloat16(x).bits;
      word = term % 2 ? (word & 0xFFFFu) | bits << 16 : (word & 0xFFFF0000u) | bits;
    };
    put(a.word[0][term / 2], left);
    put(b.word[term / 2][0], right);
  };
  // Even terms are summed apart from odd ones: 2^24 + 1 would be 2^24, but 1 + 1 comes first.
  set(0, 4096, 4096), set(1, 1, 1), set(3, 1, 1);
  CHECK(multiplied() == 16777218.0f);
  // Their sum is rounded before it is added to what was there.
  c[0][0] = -16777216.0f;
  set(1, 1, 1), set(3, 0, 0);
  CHECK(multiplied() == 0.0f);
  // A subnormal operand, product or sum counts as 0, and infinities and NaN stay what they are.
  a = {}, b = {};
  c[0][0] = 0x1p-130f;
  CHECK(multiplied() == 0.0f);
  c[0][0] = 0;
  set(0, 0x1p-130f, 0x1p+60f);
  CHECK(multiplied() == 0.0f);
  set(0, 0x1p-100f, 0x1p-30f);
  CHECK(multiplied() == 0.0f);
  set(0, std::numeric_limits<float>::infinity(), 1);
  CHECK(multiplied() == std::numeric_limits<float>::infinity());
  set(0, std::numeric_limits<float>::infinity(), 0);
  CHECK(std::isnan(multiplied()));
}

TEST_CASE("Tiles: are used only where processor, system and permission allow it", "[tiles]") {
  constexpr std::uint32_t features = 1u << 22 | 1u << 24;
  constexpr std::uint64_t saved = 3u << 17;
  CHECK(TileSupport{features, saved, true}.usable());
  CHECK(TileSupport{~0u, ~std::uint64_t(0), true}.usable());
  CHECK_FALSE(TileSupport{1u << 22, saved, true}.usable());
  CHECK_FALSE(TileSupport{1u << 24, saved, true}.usable());
  CHECK_FALSE(TileSupport{features, 1u << 17, true}.usable());
  CHECK_FALSE(TileSupport{features, 0, true}.usable());
  CHECK_FALSE(TileSupport{features, saved, false}.usable());
}

namespace {

template <bool Tiles, bool FastDot>
struct MadeUp {
  static constexpr bool has_tiles() { return Tiles; }
  static constexpr bool dot_is_faster() { return FastDot; }
};

}  // namespace

TEST_CASE("The multiplier is chosen by the processor and the options", "[tiles]") {
  using enum Bf16Products;
  using enum FloatProducts;
  using Full = MadeUp<true, true>;
  using OnlyDot = MadeUp<false, true>;
  using SlowDot = MadeUp<false, false>;
  constexpr Multiplier multiply_add = Multiplier::fma, pairs = Multiplier::dot,
                       on_tiles = Multiplier::tiles;
  CHECK(multiplier_for<bfloat16, Full>(tiles) == on_tiles);
  CHECK(multiplier_for<bfloat16, OnlyDot>(tiles) == pairs);
  CHECK(multiplier_for<bfloat16, SlowDot>(tiles) == multiply_add);
  CHECK(multiplier_for<bfloat16, Full>(measured) == pairs);
  CHECK(multiplier_for<bfloat16, SlowDot>(measured) == multiply_add);
  CHECK(multiplier_for<bfloat16, SlowDot>(dot) == pairs);
  CHECK(multiplier_for<bfloat16, Full>(widened) == multiply_add);
  CHECK(multiplier_for<bfloat16, OnlyDot>(measured, split) == pairs);
  CHECK(multiplier_for<float, Full>(tiles) == multiply_add);
  CHECK(multiplier_for<float, Full>(measured, split) == on_tiles);
  CHECK(multiplier_for<float, OnlyDot>(measured, split) == multiply_add);
  CHECK(multiplier_for<double, Full>(tiles, split) == multiply_add);
}

TEST_CASE("Tiles: Cpu<float> uses them where it is asked to and there are any", "[tiles]") {
  constexpr auto measured = Bf16Products::measured;
  constexpr int m = 70, n = 50, k = 530;
  const Numbers<float> a(m, k, Layout::rows, 1), b(n, k, Layout::rows, 2);
  const auto on_cpu = [&](const auto&... options) {
    Cpu<float> cpu(2, options...);
    return product<float>(m, n, k, a.operand, b.operand, 0,
                          [&](int, int, int, const auto& left, const auto& right, float* c, int ldc,
                              const GemmOptions<float>& o, float*) {
                            cpu.gemm(m, n, k, {left.data, k}, {right.data, 1, k}, c, ldc, o);
                          });
  };
  const auto expected =
      has_tiles() ? product<EmulatedTiles, PlainPacking, float>(m, n, k, a.operand, b.operand)
                  : on_cpu();
  CHECK(same_bits(on_cpu(measured, FloatProducts::split), expected));
  CHECK(same_bits(on_cpu(measured, FloatProducts::fma), on_cpu()));
}

#ifdef MOE_HAS_TILES
namespace {

template <Side S, class E>
void check_packing(const Operand<E>& x, int rows, int steps) {
  PackedTile plain[parts_of<E>], wide[parts_of<E>];
  PlainPacking::pack<S>(x, rows, steps, plain);
  WidePacking::pack<S>(x, rows, steps, wide);
  CHECK(std::memcmp(plain, wide, sizeof plain) == 0);
}
template <class E>
void check_packing() {
  for (const Layout layout : layouts) {
    Numbers<E> x(16, 32, layout, 1);
    if constexpr (std::is_same_v<E, float>)
      for (std::size_t i = 0; i < x.data.size(); i += 3)
        x.data[i] = unusual[i / 3 % std::size(unusual)];
    for (const int rows : {0, 1, 7, 16})
      for (const int steps : {1, 2, 15, 16, 17, 31, 32}) {
        INFO("layout " << int(layout) << ", " << rows << " x " << steps);
        check_packing<Side::left>(x.operand, rows, steps);
        check_packing<Side::right>(x.operand, rows, steps);
      }
  }
}

}  // namespace

TEST_CASE("Tiles: packing with AVX-512 gives the words of packing number by number", "[tiles]") {
  if (!__builtin_cpu_supports("avx512bf16")) return skip("the processor has no AVX512-BF16");
  check_packing<bfloat16>();
  check_packing<WeightElement>();
  check_packing<float>();
}

namespace {

template <class A, class B>
void check_processor() {
  for (const Layout left : layouts)
    for (const Layout right : layouts)
      for (const int k : {1, 31, 32, 100, 1700}) {
        const Numbers<A> a(70, k, left, 1);
        const Numbers<B> b(50, k, right, 2);
        INFO("layouts " << int(left) << " and " << int(right) << ", k " << k);
        CHECK(same_bits(
            product<Tiles, WidePacking, float>(70, 50, k, a.operand, b.operand),
            product<EmulatedTiles, PlainPacking, float>(70, 50, k, a.operand, b.operand)));
      }
  for (const AttentionShape& s : attention_shapes())
    check_same_bits(attention<Tiles, WidePacking>(s, 1),
                    attention<EmulatedTiles, PlainPacking>(s, 1));
}

}  // namespace

TEST_CASE("Tiles: the processor's give the bits of those in plain C++", "[.nightly][tiles]") {
  if (!has_tiles()) return skip("the processor has no AMX, or the system does not allow it");
  check_processor<bfloat16, WeightElement>();
  check_processor<float, float>();
}
#endif
