#include <algorithm>
#include <map>
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/optim/adamw.hpp>
#include <moe/optim/muon.hpp>
#include <moe/upcycle/upcycle.hpp>

#include "../catch.hpp"

namespace {

using namespace moe;

constexpr ModelConfig gated{
    .vocab = 37, .dim = 24, .layers = 2, .heads = 2, .hidden = 48, .context = 12};
constexpr ModelConfig plain{.vocab = 37,
                            .dim = 24,
                            .layers = 3,
                            .heads = 2,
                            .hidden = 40,
                            .context = 12,
                            .bias = true,
                            .norm = Norm::layer,
                            .position = Position::learned,
                            .activation = Activation::gelu};

template <class Model>
void disturb(Model& model, std::uint64_t seed) {
  std::uint64_t number = 0;
  for_each_leaf(
      [&](auto& leaf) {
        for (std::size_t i = 0; i < leaf.size; ++i)
          leaf.data[i] += typename Model::W(0.15 * normal(seed, number, i));
        ++number;
      },
      model.params());
}

/// A dense model with random numbers in every leaf, and a mixture to be made from it.
template <ModelConfig Dense, ModelConfig Moe, class B>
struct Pair {
  using DenseModel = Transformer<Dense, B>;
  using MoeModel = Transformer<Moe, B>;
  B backend;
  DenseModel dense;
  MoeModel mixture;
  explicit Pair(std::uint64_t seed = 5)
      : backend(), dense(backend, options(seed)), mixture(backend, options(seed + 1)) {
    disturb(dense, seed);
    disturb(mixture, seed + 2);  // nothing of it may survive
  }
  static Options options(std::uint64_t seed) { return {.max_tokens = 48, .seed = seed}; }
};

template <ModelConfig Dense, MoeConfig M, class B, Recipe R = Recipe::copy>
UpcycleReport report_of(const UpcycleOptions& options = {}) {
  Pair<Dense, with_experts(Dense, M), B> pair;
  return upcycle<R>(pair.dense, pair.mixture, options);
}

template <class B, int TopK>
void check_copy() {
  for (const RouterStart start :
       {RouterStart::normal, RouterStart::zero, RouterStart::orthogonal}) {
    for (const double deviation : {0.02, 3.0}) {
      const UpcycleOptions options{.router = start, .router_std = deviation, .seed = 11};
      for (const UpcycleReport& report :
           {report_of<gated, MoeConfig{.experts = 8, .top_k = TopK}, B>(options),
            report_of<plain, MoeConfig{.experts = 8, .top_k = TopK, .every = 2}, B>(options)}) {
        CHECK(report.exact);
        CHECK(report.max_difference == 0);
        CHECK(report.mean_difference == 0);
        CHECK(report.max_ulp == 0);
        CHECK(report.max_logit > 0.1);
        CHECK(report.symmetric == (start == RouterStart::zero));
      }
    }
  }
}

}  // namespace

TEST_CASE("upcycle: copies with renormalised gates give the logits to the last bit", "[exact]") {
  check_copy<Cpu<float>, 1>();
  check_copy<Cpu<float>, 2>();
  check_copy<Cpu<float>, 3>();
  check_copy<Cpu<float>, 8>();
  check_copy<Cpu<bfloat16>, 2>();
  check_copy<Cpu<bfloat16>, 5>();
  check_copy<Reference<double>, 4>();
}

namespace {

/// The report on a dense model one of whose parameters is not finite.
template <class B, Recipe R, MoeConfig M>
UpcycleReport report_with(double bad) {
  Pair<gated, with_experts(gated, M), B> pair;
  pair.dense.params().final_norm.weight.data[0] = typename Transformer<gated, B>::W(bad);
  return upcycle<R>(pair.dense, pair.mixture);
}

}  // namespace

TEST_CASE("upcycle: a model that is not finite is never called exact", "[exact][error]") {
  for (const double bad : {double(NAN), double(INFINITY), 3e38}) {
    const auto reports = {
        report_with<Cpu<float>, Recipe::copy, MoeConfig{.experts = 8, .top_k = 2}>(bad),
        report_with<Cpu<float>, Recipe::shared,
                    MoeConfig{.experts = 8, .top_k = 2, .shared_experts = 1}>(bad)};
    for (const UpcycleReport& report : reports) {
      CHECK_FALSE(report.exact);
      CHECK(std::isnan(report.max_difference));
      CHECK(std::isnan(report.mean_difference));
      CHECK(std::isnan(report.max_ulp));
      // 3e38 overflows in some sequences only, so one NaN is enough.
      CHECK(std::any_of(report.sequence_difference.begin(), report.sequence_difference.end(),
                        [](double d) { return std::isnan(d); }));
      CHECK(report.why.find("not finite") != std::string::npos);
    }
  }
}

TEST_CASE("upcycle: a report keeps NaN, and is not exact if the probe differs", "[exact]") {
  double most = 0;
  for (const double x : {1.0, double(NAN), 2.0}) detail::keep_largest(most, x);
  CHECK(std::isnan(most));
  UpcycleReport report;
  report.max_difference = 1e-9;
  report.exact = true;
  detail::check_promise(report);
  CHECK_FALSE(report.exact);
  CHECK(report.why.find("they differ") != std::string::npos);
}

TEST_CASE("upcycle: a shared expert that is the feed-forward gives the logits to the last bit",
          "[exact]") {
  constexpr MoeConfig kept{
      .experts = 6, .top_k = 3, .hidden = 24, .shared_experts = 2, .renormalize = false};
  constexpr MoeConfig sigmoid{.experts = 4,
                              .top_k = 2,
                              .shared_experts = 1,
                              .scoring = Scoring::sigmoid,
                              .router_bias = true,
                              .expert_bias = true};
  for (const UpcycleReport& report : {report_of<gated, kept, Cpu<float>, Recipe::shared>(),
                                      report_of<gated, kept, Cpu<bfloat16>, Recipe::shared>(),
                                      report_of<plain, sigmoid, Cpu<float>, Recipe::shared>()}) {
    CHECK(report.exact);
    CHECK(report.max_difference == 0);
    CHECK(report.compensation.weight == 1);
  }
}

namespace {

constexpr MoeConfig eight{.experts = 8, .top_k = 2};
constexpr MoeConfig slices{.experts = 12, .top_k = 6, .hidden = 16};  // three slices of 48
constexpr MoeConfig halves{.experts = 8, .top_k = 4, .hidden = 20};

}  // namespace

TEST_CASE("upcycle: permuted and sliced experts give the logits up to rounding, and say so",
          "[exact]") {
  for (const UpcycleReport& report :
       {report_of<gated, eight, Cpu<float>, Recipe::permute>(),
        report_of<plain, eight, Cpu<float>, Recipe::permute>(),
        report_of<gated, slices, Cpu<float>, Recipe::virtual_groups>(),
        report_of<plain, halves, Cpu<float>, Recipe::virtual_groups>(),
        report_of<plain, halves, Cpu<bfloat16>, Recipe::virtual_groups>()}) {
    CHECK_FALSE(report.exact);
    CHECK(report.max_ulp > 0);
    CHECK(report.max_ulp < 16);
    CHECK(report.why.find("up to rounding") != std::string::npos);
  }
  for (const UpcycleReport& report :
       {report_of<gated, eight, Reference<double>, Recipe::permute>(),
        report_of<gated, slices, Reference<double>, Recipe::virtual_groups>(),
        report_of<plain, halves, Reference<double>, Recipe::virtual_groups>()}) {
    CHECK(report.max_difference < 1e-12);
    CHECK(report.max_difference > 0);
  }
}

TEST_CASE("upcycle: gates that do not sum to 1 are compensated while the router is zero",
          "[exact]") {
  using R = Reference<double>;
  constexpr MoeConfig kept{.experts = 8, .top_k = 2, .renormalize = false};
  constexpr MoeConfig kept_slices{.experts = 12, .top_k = 6, .hidden = 16, .renormalize = false};
  constexpr MoeConfig sigmoid{
      .experts = 4, .top_k = 3, .scoring = Scoring::sigmoid, .renormalize = false};
  const UpcycleOptions zero{.router = RouterStart::zero};
  const UpcycleReport copies = report_of<plain, kept, R>(zero);
  CHECK(copies.max_difference < 1e-12);
  CHECK(copies.compensation.weight == 4);
  CHECK(copies.compensation.bias == 4);
  const UpcycleReport cut = report_of<gated, kept_slices, R, Recipe::virtual_groups>(zero);
  CHECK(cut.max_difference < 1e-12);
  CHECK(cut.compensation.weight == 6);  // E G^2 / T of the paper, with E experts of full width
  CHECK(report_of<plain, sigmoid, R>(zero).max_difference < 1e-12);
  CHECK(
      report_of<plain, kept, R>({.router = RouterStart::zero, .compensate = false}).max_difference >
      1e-3);
  CHECK(report_of<plain, kept, R>({}).max_difference > 1e-6);
  CHECK(report_of<plain, kept, R>({}).why.substr(0, 9) == "not exact");
}

namespace {

/// The numbers of hidden unit u in a matrix whose rows (or columns) are the hidden units.
std::vector<double> row_of(const double* data, int u, int n) {
  return {data + u * n, data + (u + 1) * n};
}
std::vector<double> column_of(const double* data, int u, int rows, int cols) {
  std::vector<double> all;
  for (int r = 0; r < rows; ++r) all.push_back(data[r * cols + u]);
  return all;
}

/// For every hidden unit of expert e in layer 0: the unit of the dense model that has the same
/// numbers in all of gate, up and down, or -1.
template <class P>
std::vector<int> sources(P& pair, int e) {
  auto& dense = pair.dense.params().blocks.dense[0].ffn;
  auto& experts = pair.mixture.params().blocks.mixture[0].ffn.experts;
  std::vector<int> all;
  for (int u = 0; u < 48; ++u) {
    int found = -1;
    for (int v = 0; v < 48; ++v) {
      const bool gate = row_of(experts.gate_proj.weight.matrix(e), u, 24) ==
                        row_of(dense.gate_proj.weight.data, v, 24);
      const bool up = row_of(experts.up_proj.weight.matrix(e), u, 24) ==
                      row_of(dense.up_proj.weight.data, v, 24);
      const bool down = column_of(experts.down_proj.weight.matrix(e), u, 24, 48) ==
                        column_of(dense.down_proj.weight.data, v, 24, 48);
      CHECK(gate == up);
      CHECK(gate == down);
      if (gate) found = v;
    }
    all.push_back(found);
  }
  return all;
}

}  // namespace

TEST_CASE("upcycle: permuting moves whole hidden units, differently in each expert", "[recipe]") {
  Pair<gated, with_experts(gated, MoeConfig{.experts = 3, .top_k = 1}), Reference<double>> pair;
  upcycle<Recipe::permute>(pair.dense, pair.mixture);
  std::vector<std::vector<int>> orders;
  for (int e = 0; e < 3; ++e) {
    orders.push_back(sources(pair, e));
    std::vector<int> sorted = orders.back();
    std::sort(sorted.begin(), sorted.end());
    for (int u = 0; u < 48; ++u) CHECK(sorted[std::size_t(u)] == u);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
}

TEST_CASE("upcycle: dropping draws the same units anew in all matrices of an expert", "[recipe]") {
  Pair<gated, with_experts(gated, MoeConfig{.experts = 3, .top_k = 1}), Reference<double>> pair;
  const auto report = upcycle<Recipe::drop>(pair.dense, pair.mixture, {.drop = 0.25});
  CHECK_FALSE(report.exact);
  CHECK(report.max_difference > 1e-3);
  std::vector<std::vector<int>> kept;
  for (int e = 0; e < 3; ++e) {
    kept.push_back(sources(pair, e));
    int drawn = 0;
    for (int u = 0; u < 48; ++u) {
      const int source = kept.back()[std::size_t(u)];
      CHECK((source == u || source == -1));
      drawn += source == -1;
    }
    CHECK(drawn == 12);
  }
  CHECK(kept[0] != kept[1]);
  // The new numbers have the mean and deviation of those that they replace.
  auto& dense = pair.dense.params().blocks.dense[0].ffn.up_proj.weight;
  auto& expert = pair.mixture.params().blocks.mixture[0].ffn.experts.up_proj.weight;
  double old_square = 0, new_square = 0;
  for (int u = 0; u < 48; ++u) {
    if (kept[0][std::size_t(u)] != -1) continue;
    for (const double w : row_of(dense.data, u, 24)) old_square += w * w;
    for (const double w : row_of(expert.matrix(0), u, 24)) new_square += w * w;
  }
  CHECK(new_square / old_square > 0.7);
  CHECK(new_square / old_square < 1.4);
}

TEST_CASE("upcycle: with nothing to change, noise and drop are copies", "[recipe]") {
  CHECK(report_of<gated, eight, Cpu<float>, Recipe::noise>({.noise = 0}).max_difference == 0);
  CHECK(report_of<plain, eight, Cpu<float>, Recipe::drop>({.drop = 0}).max_difference == 0);
  CHECK(report_of<gated, eight, Cpu<float>, Recipe::noise>({.noise = 0.1}).max_difference > 1e-3);
}

TEST_CASE("upcycle: noise has the stated size, anew for each expert and matrix", "[recipe]") {
  Pair<gated, with_experts(gated, MoeConfig{.experts = 2, .top_k = 1}), Reference<double>> pair;
  upcycle<Recipe::noise>(pair.dense, pair.mixture, {.noise = 0.2});
  auto& dense = pair.dense.params().blocks.dense[1].ffn;
  auto& experts = pair.mixture.params().blocks.mixture[1].ffn.experts;
  const auto noise = [](const auto& from, const auto& to, int e) {
    std::vector<double> all;
    for (std::size_t i = 0; i < from.size; ++i) all.push_back(to.matrix(e)[i] - from.data[i]);
    return all;
  };
  const auto norm = [](const auto& v) {
    double square = 0;
    for (const double x : v) square += x * x;
    return std::sqrt(square);
  };
  const auto weights = [](const auto& leaf) {
    return std::vector<double>(leaf.data, leaf.data + leaf.size);
  };
  std::vector<std::vector<double>> found;
  for (int e = 0; e < 2; ++e) {
    found.push_back(noise(dense.gate_proj.weight, experts.gate_proj.weight, e));
    found.push_back(noise(dense.up_proj.weight, experts.up_proj.weight, e));
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double size =
        norm(found[i]) / norm(weights(i % 2 ? dense.up_proj.weight : dense.gate_proj.weight));
    CHECK(size > 0.18);
    CHECK(size < 0.22);
    for (std::size_t j = 0; j < i; ++j) {
      double dot = 0;
      for (std::size_t n = 0; n < found[i].size(); ++n) dot += found[i][n] * found[j][n];
      CHECK(std::abs(dot) < 0.2 * norm(found[i]) * norm(found[j]));
    }
  }
}

TEST_CASE("upcycle: routers start as asked, slices of a group with one row", "[recipe]") {
  Pair<gated, with_experts(gated, slices), Reference<double>> pair;
  auto& router = pair.mixture.params().blocks.mixture[1].ffn.router.weight;
  upcycle<Recipe::virtual_groups>(pair.dense, pair.mixture,
                                  {.router = RouterStart::orthogonal, .router_std = 0.5});
  for (int a = 0; a < 12; ++a) {
    for (int b = 0; b < 12; ++b) {
      double dot = 0;
      for (int i = 0; i < 24; ++i) dot += router.data[a * 24 + i] * router.data[b * 24 + i];
      CHECK(std::abs(dot - (a / 3 == b / 3 ? 0.25 * 24 : 0.0)) < 1e-12);
    }
  }
  upcycle<Recipe::virtual_groups>(pair.dense, pair.mixture, {.router_std = 0.5});
  double square = 0;
  for (std::size_t i = 0; i < router.size; ++i) square += router.data[i] * router.data[i];
  CHECK(std::sqrt(square / double(router.size)) > 0.35);
  CHECK(std::sqrt(square / double(router.size)) < 0.65);
  const auto report =
      upcycle<Recipe::virtual_groups>(pair.dense, pair.mixture, {.router = RouterStart::zero});
  CHECK(report.symmetric);
  for (std::size_t i = 0; i < router.size; ++i) CHECK(router.data[i] == 0);
  for (const auto& load : report.load)
    for (std::size_t e = 0; e < 12; ++e) CHECK(load[e] == (e < 6 ? 1.0 / 6 : 0));
}

TEST_CASE("upcycle: the report holds the load of every layer and the probe it was given",
          "[report]") {
  Pair<plain, with_experts(plain, MoeConfig{.experts = 8, .top_k = 2, .last_half = true}),
       Cpu<float>>
      pair;
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 5 * 7; ++i) tokens.push_back(i % 37);
  const auto report =
      upcycle<Recipe::noise>(pair.dense, pair.mixture, {.probe = {tokens.data(), nullptr, 5, 7}});
  CHECK(report.sequence_difference.size() == 5);
  CHECK(report.max_difference ==
        *std::max_element(report.sequence_difference.begin(), report.sequence_difference.end()));
  CHECK(report.mean_difference < report.max_difference);
  REQUIRE(report.load.size() == 2);
  for (const auto& load : report.load) {
    double sum = 0;
    for (const double share : load) sum += share;
    CHECK(std::abs(sum - 1) < 1e-12);
  }
}

namespace {

/// Some updates of the dense model, so that its optimizer has state.
template <class Model, class Optimizer>
void train(Model& model, Optimizer& optimizer, int updates) {
  std::vector<std::int32_t> tokens, targets;
  for (int i = 0; i < 48; ++i) {
    tokens.push_back(i * i % 37);
    targets.push_back((i + 1) * (i + 1) % 37);
  }
  for (int i = 0; i < updates; ++i) {
    model.forward_backward({tokens.data(), targets.data(), 4, 12});
    optimizer.step();
  }
}

template <class Optimizer>
auto states(Optimizer& optimizer) {
  std::map<std::string, std::vector<double>> all;
  optimizer.for_each_state([&](const std::string& name, auto& leaf) {
    if (leaf.size > 0) all[name] = std::vector<double>(leaf.data, leaf.data + leaf.size);
  });
  return all;
}

template <template <class> class Optimizer, Recipe R, MoeConfig M>
void check_state(double scale) {
  Pair<gated, with_experts(gated, M), Reference<double>> pair;
  Optimizer<typename decltype(pair)::DenseModel> from(pair.dense);
  Optimizer<typename decltype(pair)::MoeModel> to(pair.mixture);
  train(pair.dense, from, 3);
  train(pair.mixture, to, 1);  // nothing of it may survive
  upcycle<R>(pair.dense, pair.mixture);
  upcycle_state<R>(pair.dense, from, pair.mixture, to);
  CHECK(to.updates() == 3);
  const auto dense = states(from), mixture = states(to);
  for (const auto& [name, values] : mixture) {
    const std::size_t at = name.find(".ffn.experts.");
    if (name.find(".ffn.router.") != std::string::npos) {
      CHECK(values == std::vector<double>(values.size()));
    } else if (at == std::string::npos) {
      CHECK(values == dense.at(name));
    } else {
      const auto& source = dense.at(name.substr(0, at) + ".ffn." + name.substr(at + 13));
      const bool down = name.find("down_proj") != std::string::npos, second = name[0] == 's';
      const double factor = !down ? 1 : second ? 1 / (scale * scale) : 1 / scale;
      double sum = 0, expected = 0;
      for (const double x : values) sum += x;
      for (const double x : source) expected += x;
      // In slices and in copies every number of the dense model occurs equally often.
      const double times = double(values.size()) / double(source.size());
      CHECK(std::abs(sum - times * factor * expected) < 1e-12 * double(values.size()));
    }
  }
}

}  // namespace

TEST_CASE("upcycle_state: experts get the feed-forward's state, routers none", "[state]") {
  check_state<AdamW, Recipe::copy, eight>(1);
  check_state<Muon, Recipe::copy, eight>(1);
  check_state<AdamW, Recipe::permute, eight>(1);
  check_state<AdamW, Recipe::virtual_groups, slices>(3);
}

TEST_CASE("upcycle: equal experts give the router exactly no gradient; then they part",
          "[training]") {
  Pair<gated, with_experts(gated, MoeConfig{.experts = 4, .top_k = 2}), Cpu<float>> pair;
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 48; ++i) tokens.push_back(i * 7 % 37);
  const auto largest = [](const auto& leaf) {
    double most = 0;
    for (std::size_t i = 0; i < leaf.size; ++i)
      most = std::max(most, std::abs(double(leaf.data[i])));
    return most;
  };
  const Batch batch{tokens.data(), tokens.data(), 4, 12};
  using Model = typename decltype(pair)::MoeModel;
  Model silent(pair.backend, {.max_tokens = 48, .balance_weight = 0});
  upcycle(pair.dense, silent, {.router_std = 0.5});
  silent.forward_backward(batch);
  for (auto& block : silent.grads().blocks.mixture) {
    CHECK(largest(block.ffn.router.weight) == 0);
    CHECK(largest(block.ffn.experts.up_proj.weight) > 0);
  }
  AdamW<Model> optimizer(silent);
  optimizer.step();
  silent.forward_backward(batch);
  for (auto& block : silent.grads().blocks.mixture) CHECK(largest(block.ffn.router.weight) > 0);

  // With the balance loss the router learns from the first step on.
  Model balanced(pair.backend, {.max_tokens = 48, .balance_weight = 0.01});
  upcycle(pair.dense, balanced, {.router_std = 0.5});
  balanced.forward_backward(batch);
  for (auto& block : balanced.grads().blocks.mixture) CHECK(largest(block.ffn.router.weight) > 0);
}

TEST_CASE("upcycle: a zero router leaves experts 2, 3, ... without gradient", "[training]") {
  Pair<gated, with_experts(gated, MoeConfig{.experts = 4, .top_k = 2}), Cpu<float>> pair;
  std::vector<std::int32_t> tokens(48, 3);
  upcycle(pair.dense, pair.mixture, {.router = RouterStart::zero});
  pair.mixture.forward_backward({tokens.data(), tokens.data(), 4, 12});
  auto& up = pair.mixture.grads().blocks.mixture[0].ffn.experts.up_proj.weight;
  const std::size_t size = up.size / 4;
  CHECK(std::equal(up.matrix(0), up.matrix(0) + size, up.matrix(1)));
  for (int e = 0; e < 4; ++e)
    CHECK(std::any_of(up.matrix(e), up.matrix(e) + size, [](float g) { return g != 0; }) ==
          (e < 2));
}

TEST_CASE("upcycle: options and probes that make no sense are refused", "[error]") {
  Pair<gated, with_experts(gated, MoeConfig{.experts = 26, .top_k = 2}), Cpu<float>> pair;
  const auto numbers = [&] {
    std::vector<float> all;
    for_each_leaf([&](auto& leaf) { all.insert(all.end(), leaf.data, leaf.data + leaf.size); },
                  pair.mixture.params());
    return all;
  };
  const auto before = numbers();
  const auto says = [&](const UpcycleOptions& options, const std::string& part) {
    try {
      upcycle(pair.dense, pair.mixture, options);
      return false;
    } catch (const Error& error) {
      CHECK((numbers() == before));
      return std::string(error.what()).find(part) != std::string::npos;
    }
  };
  CHECK(says({.router_std = -1}, "router_std"));
  CHECK(says({.noise = NAN}, "noise"));
  CHECK(says({.drop = 1.5}, "from 0 to 1"));
  CHECK(says({.router = RouterStart::orthogonal}, "26 orthogonal rows"));
  std::vector<std::int32_t> tokens(48, 0);
  CHECK(says({.probe = {tokens.data(), nullptr, 1, 13}}, "1 to 12 tokens"));
  tokens[3] = 37;
  CHECK(says({.probe = {tokens.data(), nullptr, 4, 12}}, "vocabulary"));
}
