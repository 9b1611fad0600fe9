#include "catch.hpp"
#include "parity.hpp"

using namespace moe;
using namespace moe::test;

namespace {

const Dropout dropout{0.3, 11, stream(3, 1, RandomStream::attention_dropout)};

std::vector<AttentionShape> shapes() {
  std::vector<AttentionShape> all;
  for (const int dim : {1, 8, 48, 64, 104}) all.push_back({2, 37, 37, 37, 2, 2, dim});
  all.push_back({1, 70, 70, 70, 4, 2, 16, dropout});  // two query heads share a key head
  all.push_back({2, 33, 33, 40, 6, 1, 8, dropout});   // room for more keys
  all.push_back({2, 5, 61, 64, 2, 2, 24});            // new tokens of a generator
  all.push_back({3, 1, 17, 32, 4, 2, 8, dropout});
  all.push_back({1, 1, 1, 1, 1, 1, 64});
  all.push_back({1, 200, 200, 200, 1, 1, 32, dropout});
  return all;
}

}  // namespace

TEST_CASE("Cpu: attention and its gradient agree with the oracle", "[parity]") {
  for_float_and_double([]<class T>(T) {
    Cpu<T> cpu{2};
    Reference<double> oracle;
    for (const AttentionShape& s : shapes()) {
      INFO("queries " << s.queries << " keys " << s.keys << " head_dim " << s.head_dim);
      Tensors<T> got(s);
      Tensors<double> expected(s);
      expected.take(got);
      got.run(cpu, s);
      expected.run(oracle, s);
      CHECK(error(got.out, expected.out) < 2 * tolerance<T>);
      CHECK(error(got.lse, expected.lse) < 2 * tolerance<T>);
      CHECK(error(got.dq, expected.dq) < 4 * tolerance<T>);
      CHECK(error(got.dk, expected.dk) < 4 * tolerance<T>);
      CHECK(error(got.dv, expected.dv) < 4 * tolerance<T>);
    }
  });
}

TEST_CASE("Cpu: attention has the same bits for every number of threads", "[determinism]") {
  for_float_and_double([]<class T>(T) {
    for (const AttentionShape& s : {AttentionShape{1, 150, 150, 150, 4, 2, 24, dropout},
                                    AttentionShape{5, 50, 50, 60, 2, 1, 40}}) {
      Cpu<T> serial{1};
      Tensors<T> one(s);
      one.run(serial, s);
      for (const int threads : {2, 3, 4}) {
        Cpu<T> cpu{threads};
        Tensors<T> many(s);
        many.run(cpu, s);
        check_same_bits(one, many);
      }
    }
  });
}

TEST_CASE("Cpu: a query with cached keys has the bits of the whole forward pass", "[determinism]") {
  for_float_and_double([]<class T>(T) {
    Cpu<T> cpu{2};
    const AttentionShape whole{2, 90, 90, 90, 4, 2, 20};
    Tensors<T> all(whole);
    all.run(cpu, whole);
    const std::size_t row = std::size_t(whole.heads * whole.head_dim);
    for (const int queries : {1, 3, 40})
      for (const int keys : {40, 65, 90}) {
        AttentionShape s = whole;
        s.queries = queries, s.keys = keys;
        std::vector<T> q, expected, out(2 * std::size_t(queries) * row),
            lse(2 * std::size_t(queries * s.heads));
        for (const int sequence : {0, 1})
          for (int i = keys - queries; i < keys; ++i) {
            const auto at = std::ptrdiff_t(std::size_t(sequence * 90 + i) * row);
            const auto end = at + std::ptrdiff_t(row);
            q.insert(q.end(), all.q.begin() + at, all.q.begin() + end);
            expected.insert(expected.end(), all.out.begin() + at, all.out.begin() + end);
          }
        cpu.attention_forward(s, q.data(), all.k.data(), all.v.data(), out.data(), lse.data());
        CHECK(same_bits(out, expected));
      }
  });
}

TEST_CASE("Cpu: attention survives scores far outside the range of exp", "[edge]") {
  Cpu<float> cpu{1};
  const AttentionShape s{1, 40, 40, 40, 1, 1, 4};
  Tensors<float> t(s);
  for (float& x : t.q) x *= 300;
  for (float& x : t.k) x *= 300;
  Tensors<double> expected(s);
  expected.take(t);
  t.run(cpu, s);
  Reference<double> oracle;
  expected.run(oracle, s);
  CHECK(error(t.out, expected.out) < 1e-2);  // scores near 1e5 keep two digits after the point
  for (const float x : t.dk) CHECK(std::isfinite(x));
}
