#include <moe/backend/inference.hpp>
#include <moe/backend/reference.hpp>
#include <moe/core/bfloat16.hpp>
#include <moe/kernels/list.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/muon.hpp>
#include <set>
#include <typeindex>

#include "catch.hpp"

// Tests the list of kernels: if one is missing, this file does not compile; one too many fails the
// test.

namespace {

using namespace moe;

/// A backend that launches only listed kernels, as a backend whose kernels are instantiated
/// beforehand.
template <class W, class S>
class Listed : public Reference<W, S> {
  using Base = Reference<W, S>;

 public:
  std::set<std::type_index> launched;

  template <class Kernel>
  void rows(int n, const Kernel& kernel) {
    note<Kernel>();
    Base::rows(n, kernel);
  }
  template <class Kernel>
  void columns(int n, Segments rows, const Kernel& kernel) {
    note<Kernel>();
    Base::columns(n, rows, kernel);
  }

 private:
  template <class Kernel>
  void note() {
    static_assert(kernel::is_in<Kernel, kernel::AllKernels<W, S>>,
                  "moe: this kernel is not in moe/kernels/list.hpp");
    launched.insert(typeid(Kernel));
  }
};
using Mixed = Listed<float, bfloat16>;

constexpr ModelConfig base{.vocab = 11,
                           .dim = 16,
                           .layers = 2,
                           .heads = 2,
                           .hidden = 8,
                           .context = 4,
                           .qk_norm = true,
                           .moe = {.experts = 3, .shared_experts = 1, .expert_bias = true}};
constexpr ModelConfig with(auto change) {
  ModelConfig c = base;
  change(c);
  return c;
}
constexpr ModelConfig gpt = with([](ModelConfig& c) {
  c.norm = Norm::layer;
  c.position = Position::learned;
  c.activation = Activation::geglu;
  c.bias = true;
  c.tied = false;
});
constexpr ModelConfig interleaved = with([](ModelConfig& c) {
  c.position = Position::rope_interleaved;
  c.activation = Activation::gelu_tanh;
  c.moe.every = 2;
});
constexpr ModelConfig squared = with([](ModelConfig& c) {
  c.activation = Activation::relu_squared;
  c.moe = {};
});

/// One training step by forward and backward, and one by forward_backward.
template <ModelConfig C>
void train(Mixed& backend) {
  Transformer<C, Mixed> model{
      backend, {.max_tokens = 4, .dropout = {.embedding = 0.1, .ffn_output = 0.1}, .seed = 4}};
  Muon optimizer{model, {.lr = 0.02, .rest = {.lr = 3e-3}}};
  constexpr std::int32_t text[] = {3, 1, 4, 1, 5};
  model.forward({text, text + 1, 1, 4});
  model.backward();
  optimizer.step();
  model.forward_backward({text, text + 1, 1, 4});
  optimizer.step();
}

/// A pass of a model that is only run.
template <ModelConfig C>
void run(Inference<Mixed>& backend) {
  Transformer<C, Inference<Mixed>> model{backend, {.max_tokens = 4}};
  constexpr std::int32_t text[] = {3, 1, 4, 1, 5};
  model.forward({text, text + 1, 1, 4}, false);
}

TEST_CASE("Kernels: the list is exactly what models and optimizers launch", "[kernels]") {
  Inference<Mixed> backend;
  run<base>(backend);
  train<base>(backend);
  train<gpt>(backend);
  train<interleaved>(backend);
  train<squared>(backend);
  using Orthogonal = Orthogonalizer<Mixed>;
  Orthogonal orthogonalize{backend, Orthogonal::bytes_needed(1, 2, 2)};
  float matrix[] = {1, 2, 3, 4};
  orthogonalize(Orthogonalization::newton_schulz5, 1, 2, 2, matrix);
  kernel::for_each(kernel::AllKernels<float, bfloat16>{}, [&]<class Kernel>() {
    if (kernel::is_in<Kernel, kernel::SymmetricKernels<float>>) return;
    INFO(typeid(Kernel).name() << " is launched by nothing");
    CHECK(backend.launched.count(typeid(Kernel)) == 1);
  });
}

}  // namespace
