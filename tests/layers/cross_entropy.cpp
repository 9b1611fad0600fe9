#include <moe/layers/cross_entropy.hpp>

#include "../catch.hpp"
#include "run.hpp"

namespace {

using namespace moe;

/// Head and loss with their memory: `loss()` is the mean, `backward` fills dx and dweight.
template <int Vocab, int Dim, class T>
struct Head {
  using L = CrossEntropyHead<Vocab, Dim, Reference<T>>;
  Reference<T> be;
  test::Owned<typename L::Cache, Reference<T>> cache;
  test::Owned<typename L::Scratch, Reference<T>> scratch;
  std::vector<T> weight, x, dx, dweight;
  std::vector<std::int32_t> targets;
  int n;

  Head(const std::vector<double>& w, const std::vector<double>& input,
       const std::vector<std::int32_t>& t)
      : cache(be, int(t.size())),
        scratch(be),
        weight(test::converted<T>(w)),
        x(test::converted<T>(input)),
        dx(x.size()),
        dweight(weight.size()),
        targets(t),
        n(int(t.size())) {}

  T loss() {
    L::forward(be, weight.data(), {x.data(), n}, {targets.data(), n}, cache.tree, scratch.tree);
    T sum(0);
    for (int r = 0; r < n; ++r) sum = sum + cache.tree.loss.data[r];
    return sum / T(double(n));
  }
  void backward(double scale) {
    L::backward(be, weight.data(), {x.data(), n}, {targets.data(), n}, cache.tree, scale,
                {dx.data(), n}, dweight.data(), scratch.tree);
  }
};

std::vector<std::int32_t> some_targets(int n, int vocab) {
  std::vector<std::int32_t> targets;
  for (int i = 0; i < n; ++i) targets.push_back(i * 7 % vocab);
  return targets;
}

/// Largest |scale * complex step + 2 - backward from 2| over every `step`-th number.
template <int Vocab, int Dim>
double head_error(int n, std::size_t step_w, std::size_t step_x) {
  const auto w = test::some_rows(Vocab, Dim), x = test::some_rows(n, Dim, 3);
  const auto targets = some_targets(n, Vocab);
  Head<Vocab, Dim, double> head(w, x, targets);
  std::fill(head.dx.begin(), head.dx.end(), 2.0);  // backward adds
  std::fill(head.dweight.begin(), head.dweight.end(), 2.0);
  head.loss();
  head.backward(0.5);
  Head<Vocab, Dim, test::Complex> complex(w, x, targets);
  double worst = 0;
  const auto compare = [&](test::Complex& number, double claim) {
    number.im = 1e-30;
    worst = std::max(worst, std::abs(2 + 0.5 * complex.loss().im / 1e-30 - claim));
    number.im = 0;
  };
  for (std::size_t i = 0; i < w.size(); i += step_w) compare(complex.weight[i], head.dweight[i]);
  for (std::size_t i = 0; i < x.size(); i += step_x) compare(complex.x[i], head.dx[i]);
  return worst;
}

TEST_CASE("CrossEntropyHead: backward adds the complex-step derivative of the mean",
          "[gradient][adds]") {
  CHECK(head_error<7, 5>(6, 1, 1) < 1e-14);
  CHECK(head_error<2, 1>(1, 1, 1) < 1e-14);
}

TEST_CASE("CrossEntropyHead: backward equals the complex-step derivative over several chunks",
          "[gradient]") {
  using Large = CrossEntropyHead<2048, 2, Reference<double>>;
  CHECK(Large::chunk == 256);
  CHECK(head_error<2048, 2>(514, 683, 147) < 1e-14);  // chunks of 256, 256 and 2
}

TEST_CASE("CrossEntropyHead: forward_backward gives the bits of forward and backward",
          "[identity]") {
  const auto targets = some_targets(514, 2048);
  const auto w = test::some_rows(2048, 2), x = test::some_rows(514, 2, 3);
  Head<2048, 2, double> two(w, x, targets), one(w, x, targets), written(w, x, targets);
  two.loss();
  two.backward(0.5);
  const auto run = [&](Head<2048, 2, double>& head, bool add) {
    decltype(two)::L::forward_backward(head.be, head.weight.data(), {head.x.data(), head.n},
                                       {targets.data(), head.n}, head.cache.tree, 0.5,
                                       {head.dx.data(), head.n}, head.dweight.data(),
                                       head.scratch.tree, add);
    const double* loss = head.cache.tree.loss.data;
    return std::vector<double>(loss, loss + head.n);
  };
  const double* loss = two.cache.tree.loss.data;
  CHECK(run(one, true) == std::vector<double>(loss, loss + two.n));
  CHECK(one.dx == two.dx);
  CHECK(one.dweight == two.dweight);
  std::fill(written.dx.begin(), written.dx.end(), double(NAN));
  run(written, false);
  CHECK(written.dx == two.dx);
}

TEST_CASE("CrossEntropyHead: the chunk follows the vocabulary", "[config]") {
  CHECK(CrossEntropyHead<1, 1, Reference<double>>::chunk == 4096);
  CHECK(CrossEntropyHead<1024, 1, Reference<double>>::chunk == 512);
  CHECK(CrossEntropyHead<50257, 1, Reference<double>>::chunk == 256);
}

TEST_CASE("CrossEntropyHead: loss and gradient of known logits", "[identity]") {
  // dim 1, x = 1: the logits are the weights.
  Head<3, 1, double> head({1, 2, 4}, {1, 1}, {1, 2});
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(4.0);
  CHECK(std::abs(head.loss() - (std::log(sum) - 3)) < 1e-15);
  CHECK(std::abs(head.cache.tree.loss.data[0] - (std::log(sum) - 2)) < 1e-15);
  head.backward(1);
  CHECK(std::abs(head.dweight[0] - std::exp(1.0) / sum) < 1e-16);
  CHECK(std::abs(head.dweight[1] - (std::exp(2.0) / sum - 0.5)) < 1e-15);
}

TEST_CASE("CrossEntropyHead: equal logits cost log(vocab)", "[identity]") {
  Head<65, 4, double> head(std::vector<double>(65 * 4), test::some_rows(9, 4), some_targets(9, 65));
  CHECK(std::abs(head.loss() - std::log(65.0)) < 1e-14);
}

TEST_CASE("CrossEntropyHead: huge logits give finite losses and gradients", "[edge]") {
  Head<3, 1, double> head({1000, -1000, 0}, {1, 1}, {0, 1});
  CHECK(head.loss() == 1000);  // 0 and 2000
  head.backward(1);
  CHECK(head.dweight == std::vector<double>{0.5, -0.5, 0});
}

TEST_CASE("CrossEntropyHead: a target with the largest logit is correct, also among equals",
          "[edge]") {
  Head<3, 1, double> head({1, 2, 2}, {1, 1, 1, -1}, {0, 1, 2, 0});
  head.loss();
  const double* correct = head.cache.tree.correct.data;
  CHECK(std::vector<double>(correct, correct + 4) == std::vector<double>{0, 1, 1, 1});
}

TEST_CASE("CrossEntropyHead: logits are x W^T", "[identity]") {
  Head<3, 2, double> head({1, 2, 3, 4, 5, 6}, {1, 1, 1, -1}, {0, 0});
  std::vector<double> logits(6);
  decltype(head)::L::logits(head.be, head.weight.data(), {head.x.data(), 2}, logits.data());
  CHECK(logits == std::vector<double>{3, 7, 11, -1, -1, -1});
}

TEST_CASE("CrossEntropyHead: no rows leave the gradients as they are", "[edge]") {
  Head<5, 3, double> head(test::some_rows(5, 3), {}, {});
  head.loss();
  head.backward(1);
  CHECK(test::largest(head.dweight) == 0);
}

}  // namespace
