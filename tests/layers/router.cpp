#include <moe/backend/cpu.hpp>

#include "../catch.hpp"
#include "routing.hpp"

namespace {

using namespace moe;

using B = Reference<double>;

/// A router whose logits are its bias, whatever x is.
template <int TopK, RouterTraits Traits>
struct Fixed4 {
  using L = test::GatesOf<4, TopK, 1, B, Traits>;
  B be;
  test::Run<L> run;
  Fixed4(const std::vector<double>& logits, const std::vector<double>& expert_bias = {},
         test::Setup setup = {.n = 8, .length = 4})
      : run(be, setup, theta(logits, expert_bias), std::vector<double>(std::size_t(setup.n))) {
    run.forward();
  }
  static std::vector<double> theta(const std::vector<double>& logits,
                                   const std::vector<double>& expert_bias) {
    std::vector<double> v(4);  // no weight
    v.insert(v.end(), logits.begin(), logits.end());
    v.insert(v.end(), expert_bias.begin(), expert_bias.end());
    return v;
  }
  auto& cache() { return run.cache.tree; }
  std::vector<int> experts(int r) const {
    const int* at = run.cache.tree.expert.data + r * TopK;
    return {at, at + TopK};
  }
  std::vector<double> gates(int r) const {
    const double* at = run.cache.tree.gates.data + r * TopK;
    return {at, at + TopK};
  }
  double load_excess(int e) {
    run.backward(std::vector<double>(run.y.size()));
    return run.grad.tree.selection.bias.data[e];
  }
};
constexpr RouterTraits softmax_bias{.bias = true};
constexpr RouterTraits kept_bias{.renormalize = false, .bias = true};
constexpr RouterTraits kept_selected{.renormalize = false, .expert_bias = true, .bias = true};
constexpr RouterTraits sigmoid_bias{.scoring = Scoring::sigmoid, .bias = true};

TEST_CASE("Router: the best experts first, the lowest index among equals", "[edge]") {
  CHECK(Fixed4<3, softmax_bias>({0, 2, 3, 1}).experts(7) == std::vector<int>{2, 1, 3});
  CHECK(Fixed4<2, softmax_bias>({0, 0, 0, 0}).experts(3) == std::vector<int>{0, 1});
  CHECK(Fixed4<2, softmax_bias>({0, 5, 1, 5}).experts(0) == std::vector<int>{1, 3});
  CHECK(Fixed4<4, sigmoid_bias>({1, 5, 1, 5}).experts(0) == std::vector<int>{1, 3, 0, 2});
}

TEST_CASE("Router: gates are the chosen probabilities, over their sum when renormalised",
          "[identity]") {
  const double a = std::exp(3.0), b = std::exp(2.0), all = a + b + std::exp(1.0) + 1;
  const auto near = [](double x, double y) { return std::abs(x - y) < 1e-15; };
  const auto kept_gates = Fixed4<2, kept_bias>({0, 2, 3, 1}).gates(5);
  CHECK(near(kept_gates[0], a / all));
  CHECK(near(kept_gates[1], b / all));
  const auto shares = Fixed4<2, softmax_bias>({0, 2, 3, 1}).gates(5);
  CHECK(near(shares[0], a / (a + b)));
  CHECK(near(shares[1], b / (a + b)));
  const double s = 1 / (1 + std::exp(-3.0)), t = 1 / (1 + std::exp(-2.0));
  const auto sigmoids = Fixed4<2, sigmoid_bias>({0, 2, 3, 1}).gates(5);
  CHECK(near(sigmoids[0], s / (s + t)));
  CHECK(near(sigmoids[1], t / (s + t)));
}

TEST_CASE("Router: huge logits neither overflow nor divide by zero", "[edge]") {
  Fixed4<2, softmax_bias> router({1000, -1000, 999, 0}, {},
                                 test::with_losses({.n = 8, .length = 4}));
  CHECK(router.experts(0) == std::vector<int>{0, 2});
  CHECK(std::abs(router.gates(0)[1] - 1 / (1 + std::exp(1.0))) < 1e-15);
  router.run.backward(std::vector<double>(16, 1.0));
  CHECK(std::isfinite(test::largest(router.run.gradients())));
}

/// The gates of the first row of a float router on the CPU whose logits are its bias. Checks that
/// all its gradients are finite.
template <RouterTraits Traits>
std::vector<float> float_gates(const std::vector<double>& logits,
                               const std::vector<double>& expert_bias, bool uniform = false) {
  using L = test::GatesOf<4, 2, 1, Cpu<float>, Traits>;
  test::Setup setup = test::with_losses({.n = 8, .length = 4});
  setup.options.round_robin_routing = uniform;
  Cpu<float> be(1);
  auto theta = Fixed4<2, Traits>::theta(logits, expert_bias);
  test::Run<L, Cpu<float>> run(be, setup, theta, std::vector<double>(8, 1.0));
  const auto gates = run.forward();
  const auto dx = run.backward(test::some_rows(8, 2));
  CHECK(std::isfinite(test::largest(run.gradients())));
  CHECK(std::isfinite(test::largest(dx)));
  for (int i = 0; i < 8 * 4; ++i) CHECK(std::isfinite(run.cache.tree.probs.data[i]));
  for (int i = 0; i < 2; ++i) CHECK(std::isfinite(run.cache.tree.report.means[i]));
  return {gates.begin(), gates.begin() + 2};
}
constexpr RouterTraits softmax_selected{.expert_bias = true, .bias = true};
constexpr RouterTraits sigmoid_selected{
    .scoring = Scoring::sigmoid, .expert_bias = true, .bias = true};

TEST_CASE("Router: gates are shares also where every score is too small for a float", "[edge]") {
  const double ratio = 1 / (1 + std::exp(-1.0));
  const auto shares = [&](const std::vector<float>& gates, double first) {
    CHECK(std::abs(gates[0] - first) < 1e-5);
    CHECK(std::abs(gates[0] + gates[1] - 1) < 1e-6);
  };
  for (const double low : {-95.0, -104.0, -1000.0}) {
    CAPTURE(low);
    shares(float_gates<sigmoid_selected>({low - 3, low, low - 1, low - 2}, {0, 0, 0, 0}), ratio);
    shares(float_gates<softmax_selected>({0, 0, low, low - 1}, {0, 0, 6, 5}), ratio);
    shares(float_gates<softmax_selected>({low, low - 1, 0, 0}, {0, 0, 0, 0}, true), ratio);
    shares(float_gates<sigmoid_selected>({low, low - 1, 0, 0}, {0, 0, 0, 0}, true), ratio);
    shares(float_gates<softmax_selected>({low, 0, 0, 0}, {0, 0, 0, 0}, true), 0);
  }
}

TEST_CASE("Router: among equal scores the higher logit is chosen", "[edge]") {
  // sigmoid(-1000) is 0 and sigmoid(100) is 1 for all of them.
  CHECK(Fixed4<2, sigmoid_bias>({-1003, -1000, -1001, -1002}).experts(0) == std::vector<int>{1, 2});
  CHECK(Fixed4<2, sigmoid_selected>({-1003, -1000, -1001, -1002}, {0, 0, 0, 0}).experts(0) ==
        std::vector<int>{1, 2});
  CHECK(Fixed4<2, sigmoid_selected>({100, 103, 100, 102}, {0, 0, 0, 0}).experts(0) ==
        std::vector<int>{1, 3});
  CHECK(Fixed4<2, softmax_selected>({900, -2, -1, -1}, {0, 0, 0, 0}).experts(0) ==
        std::vector<int>{0, 2});
}

TEST_CASE("Router: experts that answer alike give the gates exactly no gradient", "[identity]") {
  for (const double low : {0.0, -95.0, -1000.0}) {
    Fixed4<2, sigmoid_selected> router({low, low - 1, low + 2, low}, {0, 0, 0, 0});
    router.run.backward(std::vector<double>(16, 0.7));
    CHECK(test::largest(router.run.gradients()) == 4);  // the excess of load alone
    const auto gradients = router.run.gradients();
    for (std::size_t i = 0; i < 8; ++i) CHECK(gradients[i] == 0);
  }
}

TEST_CASE("Router: slots are the stable sort of the choices by expert", "[identity]") {
  B be;
  using L = test::GatesOf<4, 2, 5, B>;
  const int n = 40;
  test::Run<L> run(be, {.n = n, .length = 8}, test::some_theta<L>(), test::some_rows(n, 5));
  run.forward();
  const auto& c = run.cache.tree;
  CHECK(c.report.offset[0] == 0);
  CHECK(c.report.offset[4] == 2 * n);
  int last_pair = -1, last_expert = 0;
  for (int slot = 0; slot < 2 * n; ++slot) {
    const int pair = int(std::find(c.slot_of.data, c.slot_of.data + 2 * n, slot) - c.slot_of.data);
    REQUIRE(pair < 2 * n);
    const int expert = c.expert.data[pair];
    CHECK(c.token_of.data[slot] == pair / 2);
    CHECK((c.report.offset[expert] <= slot && slot < c.report.offset[expert + 1]));
    if (expert == last_expert) CHECK(pair > last_pair);
    last_pair = pair;
    last_expert = expert;
  }
}

TEST_CASE("Router: the balance loss is 1 at balance and experts / k when k take everything",
          "[identity]") {
  CHECK(std::abs(test::balance_loss(Fixed4<2, softmax_bias>({0, 0, 0, 0}).cache()) - 1) < 1e-15);
  CHECK(std::abs(test::balance_loss(Fixed4<1, softmax_bias>({0, 0, 0, 0}).cache()) - 1) < 1e-15);
  CHECK(std::abs(test::balance_loss(Fixed4<4, sigmoid_bias>({3, 1, 2, 0}).cache()) - 1) < 1e-15);
  CHECK(test::balance_loss(Fixed4<2, softmax_bias>({800, 800, 0, 0}).cache()) == 2);
  CHECK(test::balance_loss(Fixed4<1, softmax_bias>({0, 0, 800, 0}).cache()) == 4);
}

TEST_CASE("Router: the balance loss pushes an overloaded expert down", "[identity]") {
  test::Setup setup{.n = 8, .length = 4};
  setup.options.balance_weight = 1;
  Fixed4<1, softmax_bias> router({1, 0, 0, 0}, {}, setup);
  router.run.backward(std::vector<double>(8));
  const auto gradient = router.run.gradients();  // weight, then bias
  CHECK(gradient[4] > 0.1);
  for (std::size_t e = 1; e < 4; ++e) CHECK(gradient[4 + e] < -0.01);
}

TEST_CASE("Router: z and entropy are those of the logits", "[identity]") {
  Fixed4<2, softmax_bias> even({1, 1, 1, 1}), alone({800, 0, 0, 0});
  const double lse = 1 + std::log(4.0);
  CHECK(std::abs(even.cache().report.means[0] - lse * lse) < 1e-14);
  CHECK(std::abs(even.cache().report.means[1] - std::log(4.0)) < 1e-15);
  CHECK(alone.cache().report.means[0] == 800.0 * 800.0);
  CHECK(alone.cache().report.means[1] == 0);
}

TEST_CASE("Router: the expert bias changes the choice, not probabilities or gates", "[identity]") {
  Fixed4<1, kept_selected> plain({0, 2, 1, 0}, {0, 0, 0, 0}), moved({0, 2, 1, 0}, {0, 0, 0.9, 0});
  CHECK(plain.experts(0) == std::vector<int>{1});
  CHECK(moved.experts(0) == std::vector<int>{2});
  for (int i = 0; i < 32; ++i) CHECK(plain.cache().probs.data[i] == moved.cache().probs.data[i]);
  CHECK(moved.gates(0)[0] == plain.cache().probs.data[2]);
}

TEST_CASE("Router: the expert bias gets the excess of its expert's load", "[identity]") {
  Fixed4<1, kept_selected> one({0, 2, 1, 0}, {0, 0, 0, 0});
  CHECK(one.load_excess(1) == 8 - 2);
  CHECK(one.load_excess(0) == 2 * -2);  // the second backward adds
  Fixed4<4, kept_selected> even({0, 2, 1, 0}, {0, 0, 0, 0});
  for (int e = 0; e < 4; ++e) CHECK(even.load_excess(e) == 0);
}

TEST_CASE("Router: uniform routing spreads the tokens evenly, whatever the logits", "[identity]") {
  test::Setup setup{.n = 8, .length = 4};
  setup.options.round_robin_routing = true;
  Fixed4<2, kept_bias> router({9, 0, 0, 5}, {}, setup);
  for (int e = 0; e <= 4; ++e) CHECK(router.cache().report.offset[e] == 4 * e);
  CHECK(router.experts(0) == std::vector<int>{0, 1});
  CHECK(router.experts(1) == std::vector<int>{2, 3});
  CHECK(router.gates(1)[1] == router.cache().probs.data[4 + 3]);  // gates stay the router's
}

TEST_CASE("Router: noise is normal, in training only, and new in each step and layer",
          "[statistics]") {
  const int n = 5000;
  test::Setup setup{.n = n, .length = n};
  setup.options.router_noise = 0.5;
  Fixed4<2, softmax_bias> router({1, 1, 1, 1}, {}, setup);
  const auto logits = [&] {
    const double* at = router.cache().logits.data;
    return std::vector<double>(at, at + 4 * n);
  };
  const auto noisy = logits();
  double mean = 0, square = 0;
  for (const double x : noisy) {
    mean += (x - 1) / (4.0 * n);
    square += (x - 1) * (x - 1) / (4.0 * n);
  }
  CHECK(std::abs(mean) < 4 * 0.5 / std::sqrt(4.0 * n));
  CHECK(std::abs(square - 0.25) < 4 * 0.25 * std::sqrt(2 / (4.0 * n)));
  Pass pass = router.run.setup.pass();
  router.run.forward(pass);
  CHECK(logits() == noisy);
  pass.step += 1;
  router.run.forward(pass);
  CHECK(logits() != noisy);
  pass.step -= 1;
  pass.layer += 1;
  router.run.forward(pass);
  CHECK(logits() != noisy);
  pass.training = false;
  router.run.forward(pass);
  CHECK(logits() == std::vector<double>(4 * n, 1.0));
}

TEST_CASE("Router: no rows leave the gradients as they are", "[edge]") {
  Fixed4<2, softmax_bias> router({1, 2, 3, 4}, {}, test::with_losses({.n = 0, .length = 4}));
  router.run.backward({});
  CHECK(test::largest(router.run.gradients()) == 0);
  CHECK(router.cache().report.offset[4] == 0);
}

}  // namespace
