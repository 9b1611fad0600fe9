#pragma once
#include <moe/backend/backend.hpp>

namespace moe::inline MOE_ISA {

/// Backend B for models that are only run: the matrices of a model (embedding, layers, experts,
/// head) are stored in B's Value type. With bfloat16 that is half the memory, and generation, which
/// reads every weight once a token, is 1.4 to 1.9 times as fast. Norms, biases, positions and
/// routers stay Wide. Products round their operands to Value anyway, so logits have the same bits
/// as those of a model on B with the same parameters, unless its embeddings are scaled.
///
/// A model on it has no gradients. It loads checkpoints with float or bfloat16 numbers, and any
/// Hugging Face folder. `parameter()` finds what is Wide; for a matrix use
/// moe::parameter<moe::Weight<B>>(model.params(), name). With `.init_std = 0` it is made faster:
/// random initial values, which loading replaces, take some 40 ns each.
/// Test: tests/model/inference.cpp.
///
///     using Backend = moe::Inference<moe::Cpu<moe::bfloat16>>;
///     Backend backend;
///     moe::Transformer<config, Backend> model{backend, {.init_std = 0}};
///     moe::load(model, "model.moe");
template <Backend B>
class Inference : public B {
 public:
  using Weight = Value<B>;
  using B::B;
};

}  // namespace moe
