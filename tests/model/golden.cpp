#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/muon.hpp>

#include "catch.hpp"

// Golden values of our own, for a clone without the fixtures of PyTorch. They were printed by
// Reference<double> when it agreed with all fixtures within 1e-10. They depend on the initial
// values, routing, every loss, the gradient's norm and Muon's update.

namespace {

using namespace moe;

constexpr ModelConfig config{.vocab = 11,
                             .dim = 16,
                             .layers = 2,
                             .heads = 4,
                             .kv_heads = 2,
                             .hidden = 24,
                             .context = 8,
                             .moe = {.experts = 4, .top_k = 2}};
struct Step {
  double cross_entropy, balance, z, entropy, grad_norm;
};
constexpr Step golden[] = {
    {2.63970993416757, 1.15504396365832, 2.10388562818024, 1.19505067282452, 3.22553000527196},
    {2.32812634565494, 1.21803091524483, 1.94250066531922, 1.16448343507026, 2.46053219217884},
    {2.04975395212316, 1.23509180011365, 1.84033525656318, 1.14553759436952, 1.97170216213004}};

template <class B>
double golden_error() {
  B backend;
  Transformer<config, B> model{backend,
                               {.max_tokens = 16,
                                .balance_weight = 0.02,
                                .z_weight = 0.001,
                                .entropy_weight = 0.003,
                                .init_std = 0.2,
                                .seed = 4}};
  Muon optimizer{model, {.lr = 0.02, .rest = {.lr = 3e-3}}};
  std::int32_t text[17];
  for (int i = 0; i < 17; ++i) text[i] = (i * i + 3 * i) % 11;
  double worst = 0;
  for (const Step& want : golden) {
    const Loss loss = model.forward({text, text + 1, 2, 8});
    model.backward();
    const double norm = optimizer.step().grad_norm;
    const auto compare = [&](double got, double value) {
      worst = std::max(worst, std::abs(got / value - 1));
    };
    compare(loss.cross_entropy, want.cross_entropy);
    compare(loss.balance, want.balance);
    compare(loss.z, want.z);
    compare(loss.entropy, want.entropy);
    compare(norm, want.grad_norm);
  }
  return worst;
}

TEST_CASE("Transformer: three steps with Muon give the golden values", "[golden]") {
  CHECK(golden_error<Reference<double>>() < 1e-12);
  CHECK(golden_error<Cpu<double>>() < 1e-12);
  CHECK(golden_error<Cpu<float>>() < 2e-5);
}

}  // namespace
