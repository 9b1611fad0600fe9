#include "../gradient.hpp"

#include <moe/model/transformer.hpp>

#include "catch.hpp"

// Compares the gradient of the whole model, auxiliary losses included, with the complex step.

namespace {

using namespace moe;
using test::Complex;

constexpr ModelConfig base{.vocab = 5,
                           .dim = 8,
                           .layers = 2,
                           .heads = 4,
                           .kv_heads = 2,
                           .hidden = 6,
                           .context = 4,
                           .moe = {.experts = 4, .top_k = 2, .hidden = 5}};
constexpr ModelConfig with(auto change) {
  ModelConfig c = base;
  change(c);
  return c;
}

constexpr std::int32_t text[] = {1, 4, 0, 2, 3, 1, 2, 0, 4};
constexpr Batch batch{text, text + 1, 2, 4};

Options options() {
  return {.max_tokens = 8,
          .balance_weight = 0.3,
          .z_weight = 0.2,
          .entropy_weight = 0.1,
          .init_std = 0.4,
          .seed = 3};
}

/// The total loss in the model's number type, which may be complex.
template <class Model>
typename Model::T total_loss(const Model& model) {
  using T = typename Model::T;
  constexpr ModelConfig c = Model::config;
  const Options& o = model.options();
  T total(0);
  for (int i = 0; i < model.cache().results.head.loss.count; ++i)
    total = total + model.cache().results.head.loss.data[i] / T(8);
  for (int layer = 0; layer < c.moe_layers(); ++layer) {
    const auto& router = model.cache().blocks.template of<true>(layer).ffn.router;
    const auto load = model.expert_load(layer);
    T sum(0);
    for (int e = 0; e < c.moe.experts; ++e)
      sum = sum + T(o.balance_weight * c.moe.experts * load[std::size_t(e)]) *
                      router.report.mean_probs[e];
    sum =
        sum + T(o.z_weight) * router.report.means[0] - T(o.entropy_weight) * router.report.means[1];
    total = total + sum / T(c.moe_layers());
  }
  return total;
}

template <ModelConfig C>
double model_error(const Options& o = options()) {
  Reference<double> real;
  Transformer<C, Reference<double>> model{real, o};
  model.forward(batch);
  CHECK(std::abs(total_loss(model) - model.loss().total) < 1e-14 * std::abs(model.loss().total));
  model.backward();
  const auto theta = test::get_leaves<double>(model.params());
  const auto claimed = test::get_leaves<double>(model.grads());

  Reference<Complex> complex;
  Transformer<C, Reference<Complex>> shadow{complex, o};
  std::vector<Complex> z(theta.begin(), theta.end());
  double worst = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    z[i].im = 1e-30;
    test::set_leaves(shadow.params(), z);
    shadow.set_passes(0);
    shadow.forward(batch);
    worst = std::max(worst, std::abs(total_loss(shadow).im / 1e-30 - claimed[i]));
    z[i].im = 0;
  }
  return worst;
}

TEST_CASE("Transformer: the gradient of a Llama-like mixture equals the complex step",
          "[gradient]") {
  CHECK(model_error<base>() < 1e-12);
}

TEST_CASE("Transformer: the gradient of a GPT-like mixture equals the complex step", "[gradient]") {
  CHECK(model_error<with([](ModelConfig& c) {
          c.bias = true;
          c.norm = Norm::layer;
          c.position = Position::learned;
          c.activation = Activation::gelu;
          c.scale_embedding = true;
        })>() < 1e-12);
}

TEST_CASE(
    "Transformer: the gradient of alternating layers with a head of its own equals the complex "
    "step",
    "[gradient]") {
  CHECK(model_error<with([](ModelConfig& c) {
          c.tied = false;
          c.qk_norm = true;
          c.layers = 3;
          c.position = Position::rope_interleaved;
          c.activation = Activation::geglu;
          c.moe.every = 2;
          c.moe.offset = 1;
          c.moe.top_k = 1;
          c.moe.renormalize = false;
          c.moe.shared_experts = 1;
        })>() < 1e-12);
}

TEST_CASE(
    "Transformer: the gradient with sigmoid scores, dropout and noise equals the complex step",
    "[gradient]") {
  Options o = options();
  o.dropout = {.embedding = 0.2,
               .attention = 0.2,
               .attention_output = 0.2,
               .expert = 0.2,
               .ffn_output = 0.2,
               .final = 0.2};
  o.router_noise = 0.3;
  CHECK(model_error<with([](ModelConfig& c) { c.moe.scoring = Scoring::sigmoid; })>(o) < 1e-12);
}

TEST_CASE("Transformer: the gradient of a dense model equals the complex step", "[gradient]") {
  CHECK(model_error<with([](ModelConfig& c) {
          c.moe = {};
          c.position = Position::none;
          c.activation = Activation::gelu_tanh;
        })>() < 1e-12);
}

}  // namespace
