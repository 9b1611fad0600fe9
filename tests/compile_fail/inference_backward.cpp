// Refused: a model whose weights are stored narrow has no gradients.
#include <moe/backend/inference.hpp>
#include <moe/backend/reference.hpp>
#include <moe/model/transformer.hpp>

constexpr moe::ModelConfig config{.vocab = 11, .dim = 8, .layers = 1, .heads = 2, .context = 4};

int main() {
  moe::Inference<moe::Reference<float, moe::bfloat16>> backend;
  moe::Transformer<config, decltype(backend)> model{backend, {.max_tokens = 4}};
  model.backward();
}
