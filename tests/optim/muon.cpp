#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>

#include "catch.hpp"
#include "model.hpp"

using namespace moe::test;
using Model = TinyModel<moe::Reference<double>>;

namespace {

constexpr double steps[5][3] = {{8.156554524902461, -22.48329292557795, 15.878769915207462},
                                {4.042929935166739, -2.808917465908714, 0.5000178451051316},
                                {3.8916678022926607, -2.772484153217685, 0.5060648178503393},
                                {3.285753657755655, -2.3681294933425376, 0.46449024233003106},
                                {2.3465413258596377, -1.7097828382687081, 0.42323551169305323}};

/// Applies X <- a X + b (X X^T) X + c (X X^T)^2 X five times, in the plainest way.
void plain_orthogonalize(double* x, int rows, int cols, bool polar) {
  const auto product = [](const std::vector<double>& a, const std::vector<double>& b, int m, int k,
                          int n) {
    std::vector<double> c(std::size_t(m * n));
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j)
        for (int l = 0; l < k; ++l)
          c[std::size_t(i * n + j)] += a[std::size_t(i * k + l)] * b[std::size_t(l * n + j)];
    return c;
  };
  std::vector<double> y(x, x + rows * cols);
  double norm = 0;
  for (double v : y) norm += v * v;
  norm = polar ? 1.02 * std::sqrt(norm) + 1e-6 : std::sqrt(norm) + 1e-7;
  for (double& v : y) v /= norm;
  for (const auto& step : steps) {
    const double a = polar ? step[0] : 3.4445, b = polar ? step[1] : -4.7750;
    const double c = polar ? step[2] : 2.0315;
    std::vector<double> t(y.size());
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < cols; ++j) t[std::size_t(j * rows + i)] = y[std::size_t(i * cols + j)];
    const std::vector<double> gram = product(y, t, rows, cols, rows);
    const std::vector<double> once = product(gram, y, rows, rows, cols);
    const std::vector<double> twice = product(gram, once, rows, rows, cols);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = a * y[i] + b * once[i] + c * twice[i];
  }
  std::copy(y.begin(), y.end(), x);
}

struct Matrices {
  int count, rows, cols;
};
Matrices hidden(const std::string& name) {
  if (has(name, "up_bias")) return {0, 0, 0};
  if (has(name, ".up")) return {3, 7, 5};
  if (has(name, ".down")) return {3, 5, 7};
  if (has(name, ".q")) return {1, 4, 5};
  return {0, 0, 0};
}

/// Largest difference after some steps between Muon and plain scalar code for every tensor.
template <class B>
double error_of_muon(moe::MuonOptions o) {
  TinyModel<B> model;
  o.clip = 2;
  moe::Muon optimizer{model, o};
  Values expected = values(model.params()), momentum;
  std::map<std::string, ScalarAdamW> scalar;
  for (int t = 1; t <= 4; ++t) {
    model.draw_grads(std::uint64_t(t));
    Values grads = values(model.grads());
    const double norm = norm_of(grads), factor = 1.0 / t;
    for (auto& [name, g] : grads) {
      std::vector<double>& p = expected[name];
      if (has(name, "expert_bias")) {
        for (std::size_t i = 0; i < g.size(); ++i) p[i] += g[i] > 0 ? -1e-3 : 1e-3;
        continue;
      }
      for (double& value : g) value *= std::min(1.0, 2 / norm);
      const Matrices shape = hidden(name);
      if (shape.count == 0) {
        ScalarAdamW& rule = scalar[name];
        rule.lr = o.rest.lr * factor;
        rule.beta1 = 0.9;
        rule.beta2 = 0.95;
        rule.eps = 1e-8;
        rule.weight_decay = decayed(name) ? 0.1 : 0;
        rule.step(p, g, t);
        continue;
      }
      std::vector<double>& m = momentum[name];
      m.resize(g.size());
      std::vector<double> u(g.size());
      for (std::size_t i = 0; i < g.size(); ++i) {
        m[i] = o.momentum * m[i] + (1 - o.momentum) * g[i];
        u[i] = o.nesterov ? (1 - o.momentum) * g[i] + o.momentum * m[i] : m[i];
      }
      const int size = shape.rows * shape.cols;
      for (int e = 0; e < shape.count; ++e)
        plain_orthogonalize(&u[std::size_t(e * size)], shape.rows, shape.cols,
                            o.method == moe::Orthogonalization::polar_express5);
      const double ratio = double(shape.rows) / shape.cols;
      const double s = o.scale == moe::MuonScale::keller
                           ? std::sqrt(ratio > 1 ? ratio : 1)
                           : 0.2 * std::sqrt(double(std::max(shape.rows, shape.cols)));
      const double lr = o.lr * factor;
      for (std::size_t i = 0; i < g.size(); ++i)
        p[i] = p[i] * (1 - lr * o.weight_decay) - lr * s * u[i];
    }
    const moe::StepReport report = optimizer.step(factor);
    CHECK(!report.skipped);
    CHECK(std::abs(report.lr - o.lr * factor) < 1e-15);
  }
  return largest_difference(values(model.params()), expected);
}

template <class B>
void check_against_plain_code(double tolerance) {
  using moe::MuonOptions;
  CHECK(error_of_muon<B>(MuonOptions{}) < tolerance);
  CHECK(error_of_muon<B>(MuonOptions{.nesterov = false}) < tolerance);
  CHECK(error_of_muon<B>(MuonOptions{.lr = 0.1, .weight_decay = 1.5}) < tolerance);
  CHECK(error_of_muon<B>(MuonOptions{
            .lr = 0.004, .scale = moe::MuonScale::moonlight, .rest = {.lr = 4e-3}}) < tolerance);
  CHECK(error_of_muon<B>(MuonOptions{
            .momentum = 0.8, .method = moe::Orthogonalization::polar_express5}) < tolerance);
}

}  // namespace

TEST_CASE("Muon: equals plain code for matrices and AdamW for the rest", "[optim]") {
  check_against_plain_code<moe::Reference<double>>(1e-11);
  check_against_plain_code<moe::Reference<float>>(2e-4);
#ifdef MOE_TEST_HAS_CPU
  check_against_plain_code<moe::Cpu<double>>(1e-11);
  check_against_plain_code<moe::Cpu<float>>(2e-4);
#endif
}

TEST_CASE("Muon: the model's type is deduced and lr may be a float", "[optim]") {
  Model model;
  moe::Muon optimizer{model, {.lr = 0.02f}};
  CHECK(std::abs(optimizer.lr() - 0.02) < 1e-9);
}

TEST_CASE("Muon: the first step on one number per matrix", "[golden]") {
  Model model;
  moe::Muon optimizer{model, {.lr = 0.1, .weight_decay = 0.5, .clip = 100}};
  auto& up = model.params().blocks[0].up;  // (7, 5): keller's scale is sqrt(7/5)
  up.matrix(1)[0] = 2;
  up.matrix(1)[1] = 2;
  model.grads().blocks[0].up.matrix(1)[0] = 2;
  optimizer.step();
  // A matrix with one non-zero number becomes NS5(1) = 0.69643646 there: 2 (1 - 0.05) - 0.1 s u.
  CHECK(std::abs(up.matrix(1)[0] - (1.9 - 0.1 * std::sqrt(1.4) * 0.6964364)) < 1e-6);
  CHECK(std::abs(up.matrix(1)[1] - 1.9) < 1e-12);
}

TEST_CASE("Muon: an expert without a gradient keeps weights and momentum", "[optim]") {
  Model model;
  moe::Muon optimizer{model};
  model.draw_grads(1);
  optimizer.step();
  const Values before = everything(model, optimizer);
  model.draw_grads(2);
  const auto silence = [](auto& leaf, int e) {
    for (int i = 0; i < leaf.rows * leaf.cols; ++i) leaf.matrix(e)[i] = 0;
  };
  silence(model.grads().blocks[1].up, 1);
  silence(model.grads().blocks[1].down, 0);
  silence(model.grads().blocks[1].down, 2);
  optimizer.step();
  const Values after = everything(model, optimizer);
  const auto moved = [&](const std::string& name, int e, std::size_t size) {
    const auto& a = before.at(name);
    const auto& b = after.at(name);
    const auto first = long(std::size_t(e) * size), last = long(std::size_t(e + 1) * size);
    return !std::equal(a.begin() + first, a.begin() + last, b.begin() + first);
  };
  for (const std::string state : {"", "first."}) {
    CHECK(moved(state + "blocks.1.up", 0, 35));
    CHECK(!moved(state + "blocks.1.up", 1, 35));
    CHECK(moved(state + "blocks.1.up", 2, 35));
    CHECK(!moved(state + "blocks.1.down", 0, 35));
    CHECK(moved(state + "blocks.1.down", 1, 35));
    CHECK(!moved(state + "blocks.1.down", 2, 35));
    CHECK(moved(state + "blocks.0.down", 0, 35));
  }
}

TEST_CASE("Muon: every gradient is zero after an update, whatever it was", "[optim]") {
  Model model;
  moe::Muon optimizer{model};
  model.draw_grads(1);
  // The squares of these gradients underflow to 0, so the matrix counts as one without a gradient.
  for (int i = 0; i < 35; ++i) model.grads().blocks[1].up.matrix(1)[i] = 1e-200;
  CHECK(!optimizer.step().skipped);
  for (const auto& [name, value] : values(model.grads())) {
    CAPTURE(name);
    CHECK(std::count(value.begin(), value.end(), 0.0) == std::ptrdiff_t(value.size()));
  }
}

namespace {
template <class B>
void check_silent_expert_changes_no_other() {
  TinyModel<B> all, some;
  moe::Muon first{all}, second{some};
  all.draw_grads(1, 1e-5);  // below the clipping norm, so the silent expert's norm has no effect
  some.draw_grads(1, 1e-5);
  for (int i = 0; i < 35; ++i) some.grads().blocks[0].up.matrix(1)[i] = 0;
  CHECK(first.step().clip_factor == 1);
  CHECK(second.step().clip_factor == 1);
  for (const int e : {0, 2})
    for (int i = 0; i < 35; ++i)
      CHECK(all.params().blocks[0].up.matrix(e)[i] == some.params().blocks[0].up.matrix(e)[i]);
}
}  // namespace

TEST_CASE("Muon: the other experts move as if the silent one were not there", "[identity]") {
  check_silent_expert_changes_no_other<moe::Reference<double>>();
#ifdef MOE_TEST_HAS_CPU
  check_silent_expert_changes_no_other<moe::Cpu<float>>();
#endif
}

#ifdef MOE_TEST_HAS_CPU
TEST_CASE("Muon and AdamW: same bits for any number of threads", "[determinism]") {
  const auto after_some_steps = [](int threads) {
    TinyModel<moe::Cpu<float>> matrices{threads}, elements{threads};
    moe::Muon muon{matrices};
    moe::AdamW adamw{elements};
    for (std::uint64_t t = 0; t < 3; ++t) {
      matrices.draw_grads(t);
      elements.draw_grads(t);
      muon.step();
      adamw.step();
    }
    Values all = everything(matrices, muon);
    for (auto& [name, value] : everything(elements, adamw)) all["adamw." + name] = value;
    return all;
  };
  const Values expected = after_some_steps(1);
  CHECK(after_some_steps(2) == expected);
  CHECK(after_some_steps(4) == expected);
}
#endif

TEST_CASE("Muon: a loss or gradient that is not finite changes no bit", "[optim]") {
  Model model;
  moe::Muon optimizer{model, {.skip_limit = 3}};
  model.draw_grads(1);
  optimizer.step();
  const Values before = everything(model, optimizer);
  model.draw_grads(2);
  model.grads().head.data[3] = std::numeric_limits<double>::infinity();
  const moe::StepReport report = optimizer.step();
  CHECK(report.skipped);
  CHECK(!std::isfinite(report.grad_norm));
  CHECK(everything(model, optimizer) == before);
  model.draw_grads(2);
  model.set_loss(std::numeric_limits<double>::quiet_NaN());
  CHECK(optimizer.step().skipped);
  CHECK(everything(model, optimizer) == before);
  CHECK(optimizer.updates() == 1);
  model.set_loss(std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_AS(optimizer.step(), moe::Error);
  CHECK(everything(model, optimizer) == before);
}

TEST_CASE("Muon: matrices have one moment, other leaves two", "[optim]") {
  Model model;
  moe::Muon optimizer{model};
  const Values state = [&] {
    Values all;
    optimizer.for_each_state([&](const std::string& name, auto& leaf) {
      all[name] = std::vector<double>(leaf.data, leaf.data + leaf.size);
    });
    return all;
  }();
  CHECK(state.count("first.blocks.0.q") == 1);
  CHECK(state.count("second.blocks.0.q") == 0);
  CHECK(state.count("second.blocks.0.up") == 0);
  CHECK(state.count("second.blocks.0.router") == 1);
  CHECK(state.count("second.embedding") == 1);
  CHECK(state.size() == (3 + 2 * 6) + (3 + 2 * 3));
  CHECK(moe::Muon<Model>::state_bytes() < moe::AdamW<Model>::state_bytes());
}

TEST_CASE("Muon: bytes_needed is what construction allocates, and step allocates nothing",
          "[optim]") {
  struct Counting : moe::Reference<float> {
    std::byte* allocate(std::size_t bytes) {
      total += bytes;
      return moe::Reference<float>::allocate(bytes);
    }
    std::size_t total = 0;
  };
  TinyModel<Counting> model;
  const std::size_t before = model.backend().total;
  moe::Muon optimizer{model};
  const std::size_t built = model.backend().total;
  CHECK(built - before == moe::Muon<TinyModel<Counting>>::bytes_needed());
  model.draw_grads(1);
  optimizer.step();
  CHECK(model.backend().total == built);
}

TEST_CASE("Muon: options out of range are refused", "[error]") {
  Model model;
  CHECK(has(message_of([&] { moe::Muon{model, {.momentum = 1}}; }), "MuonOptions.momentum"));
  CHECK(has(message_of([&] { moe::Muon{model, {.lr = -1}}; }), "MuonOptions.lr"));
  CHECK(has(message_of([&] { moe::Muon{model, {.clip = -1}}; }), "MuonOptions.clip"));
}
