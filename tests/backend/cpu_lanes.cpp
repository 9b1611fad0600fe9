#include "catch.hpp"
#include "parity.hpp"

using namespace moe;
using namespace moe::test;

namespace {

template <class T>
using Pack = detail::Register<T>;

/// Largest error in units of the last place over `samples` numbers in [low, high].
template <class T, class F, class Exact>
double last_places(const F& f, const Exact& exact, double low, double high) {
  constexpr int width = detail::batch_width<T>, samples = 1 << 16;
  double worst = 0;
  T x[width], y[width];
  for (int i = 0; i < samples; i += width) {
    for (int l = 0; l < width; ++l) x[l] = T(low + (high - low) * (i + l) / samples);
    f(Pack<T>::load_unaligned(x)).store_unaligned(y);
    for (int l = 0; l < width; ++l) {
      const long double expected = exact(static_cast<long double>(x[l]));
      const T near = std::max(std::abs(T(expected)), std::numeric_limits<T>::min());
      const T place = std::nextafter(near, std::numeric_limits<T>::infinity()) - near;
      const double e = double(std::abs(static_cast<long double>(y[l]) - expected)) / double(place);
      worst = std::isnan(e) ? 1e30 : std::max(worst, e);
    }
  }
  return worst;
}

struct Exact {
  long double (*f)(long double);
  long double operator()(long double x) const { return f(x); }
};

}  // namespace

TEST_CASE("Cpu: exp, log, tanh, erf and sqrt of a lane are accurate", "[accuracy]") {
  for_float_and_double([]<class T>(T) {
    const double most = sizeof(T) == 4 ? 3 : 2, far = sizeof(T) == 4 ? 85 : 690;
    CHECK(last_places<T>([](auto x) { return kernel::exp(x); }, Exact{std::exp}, -far, far) < most);
    CHECK(last_places<T>([](auto x) { return kernel::exp(x); }, Exact{std::exp}, -1, 1) < most);
    CHECK(last_places<T>([](auto x) { return kernel::log(x); }, Exact{std::log}, 1e-6, 20) < most);
    CHECK(last_places<T>([](auto x) { return kernel::tanh(x); }, Exact{std::tanh}, -9, 9) < most);
    CHECK(last_places<T>([](auto x) { return kernel::sqrt(x); }, Exact{std::sqrt}, 0, 9) <= 0.5);
    // In double precision xsimd's erf has errors up to 1.5e-14.
    CHECK(last_places<T>([](auto x) { return kernel::erf(x); }, Exact{std::erf}, -5, 5) <
          (sizeof(T) == 4 ? 3.0 : 100.0));
  });
}

TEST_CASE("Cpu: lanes load, store, generate and select as single numbers do", "[lanes]") {
  for_float_and_double([]<class T>(T) {
    constexpr int width = detail::batch_width<T>;
    T from[3 * width], to[3 * width] = {};
    for (int i = 0; i < 3 * width; ++i) from[i] = T(i) + T(0.5);
    const Lane<Pack<T>> lane{3};
    const Row<const T> in{from};
    const Row<T> out{to};
    out[lane] = in[lane] * T(2);
    out[lane] += generate(lane, [](int i) { return T(100 * i); });
    for (int i = 0; i < 3 * width; ++i)
      CHECK(to[i] == (i < 3 || i >= 3 + width ? T(0) : T(2 * i + 1 + 100 * i)));
    const Pack<T> chosen = select(in[lane] > Pack<T>(T(4)), in[lane], Pack<T>(T(-1)));
    T value[width];
    chosen.store_unaligned(value);
    for (int l = 0; l < width; ++l) CHECK(value[l] == (from[3 + l] > T(4) ? from[3 + l] : T(-1)));
  });
}

TEST_CASE("Cpu: a group covers a row of any length exactly once", "[lanes]") {
  for_float_and_double([]<class T>(T) {
    const detail::SimdGroup<T> group;
    for (int n = 0; n <= 9 * detail::batch_width<T> + 1; ++n) {
      std::vector<T> seen(std::size_t(n) + 1);
      const Row<T> row{seen.data()};
      group.for_each(n, [&](auto i) { row[i] += T(1); });
      CHECK(std::count(seen.begin(), seen.end() - 1, T(1)) == n);
      CHECK(seen.back() == T(0));
      for (int i = 0; i < n; ++i) row(i) = T(i) - T(n);
      CHECK(group.sum(n, [&](auto i) { return load(row.data, i); }) == T(-n * (n + 1) / 2));
      if (n == 0) continue;
      CHECK(group.max(n, [&](auto i) { return load(row.data, i); }) == T(-1));
      row(n / 2) = T(3);
      CHECK(group.max(n, [&](auto i) { return load(row.data, i); }) == T(3));
    }
  });
}

TEST_CASE("Cpu: exp of a lane keeps NaN and is 0 far below", "[edge]") {
  for_float_and_double([]<class T>(T) {
    const T infinity = std::numeric_limits<T>::infinity();
    T value[detail::batch_width<T>];
    for (const T x : {T(-1e30), -infinity, T(-2000)}) {
      kernel::exp(Pack<T>(x)).store_unaligned(value);
      CHECK(value[0] == T(0));
    }
    kernel::exp(Pack<T>(std::numeric_limits<T>::quiet_NaN())).store_unaligned(value);
    CHECK(std::isnan(value[0]));
    kernel::exp(Pack<T>(T(0))).store_unaligned(value);
    CHECK(value[0] == T(1));
  });
}

TEST_CASE("Cpu: dropout factors of a lane are those of its elements", "[dropout]") {
  for_float_and_double([]<class T>(T) {
    constexpr int width = detail::batch_width<T>;
    for (const double rate : {0.0, 0.1, 0.5, 0.999}) {
      const Dropout d{rate, 5, stream(7, 3, RandomStream::expert_dropout)};
      for (const std::uint64_t first :
           {std::uint64_t(0), std::uint64_t(8), std::uint64_t(13), (std::uint64_t(1) << 35) + 5}) {
        T value[width];
        dropout_factors(Lane<Pack<T>>{3}, d, first).store_unaligned(value);
        for (int l = 0; l < width; ++l)
          CHECK(value[l] == T(d.factor(first + 3 + std::uint64_t(l))));
      }
    }
  });
}
