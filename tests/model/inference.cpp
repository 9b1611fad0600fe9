#include <moe/backend/cpu.hpp>
#include <moe/backend/inference.hpp>
#include <moe/backend/reference.hpp>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/checkpoint/hugging_face.hpp>
#include <moe/generate/generate.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"
#include "text.hpp"

// Models that are only run: their matrices are stored as their activations are.

namespace {

using namespace moe;
using test::ScratchFolder;
using Narrow = Cpu<bfloat16>;
using Runs = Inference<Narrow>;

constexpr ModelConfig llama{
    .vocab = 61, .dim = 48, .layers = 3, .heads = 4, .kv_heads = 2, .hidden = 72, .context = 12};
constexpr ModelConfig with(auto change) {
  ModelConfig c = llama;
  change(c);
  return c;
}
constexpr ModelConfig mixture = with([](ModelConfig& c) {
  c.tied = false;
  c.bias = true;
  c.moe = {.experts = 4, .top_k = 2, .hidden = 24};
  c.moe.shared_experts = 1;
  c.moe.expert_bias = true;
});
constexpr ModelConfig positions = with([](ModelConfig& c) {
  c.position = Position::learned;
  c.norm = Norm::layer;
  c.activation = Activation::gelu;
  c.moe = {.experts = 4, .top_k = 1, .hidden = 24, .every = 2};
});
constexpr ModelConfig scaled = with([](ModelConfig& c) { c.scale_embedding = true; });

using Text = test::Text<llama>;
constexpr int tokens = Text::tokens;

/// A model on its backend. Initial values are functions of the seed, so two models of one
/// configuration have the same parameters, up to their rounding.
template <ModelConfig C, class B>
struct Made {
  B backend;
  Transformer<C, B> model;
  explicit Made(std::uint64_t seed = 3)
      : backend(make()), model(backend, {.max_tokens = tokens, .init_std = 0.15, .seed = seed}) {}

  std::vector<float> numbers() {
    std::vector<float> all;
    for (const LeafInfo& leaf : leaves<typename Transformer<C, B>::Params>()) {
      std::vector<float> one(leaf.size);
      download_numbers(backend, model.params(), leaf, 0, std::span<float>(one));
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  std::vector<float> logits() {
    const Text text;
    model.forward(text.batch(), false);
    return model.logits();
  }

 private:
  static B make() {
    if constexpr (std::is_constructible_v<B, int>)
      return B(2);
    else
      return B();
  }
};

/// The largest difference over the largest number.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(double(a[i]) - double(b[i])));
    size = std::max(size, std::abs(double(b[i])));
  }
  return most / size;
}

template <ModelConfig C>
void check_same_bits() {
  Made<C, Narrow> trained;
  Made<C, Runs> run;
  CHECK(run.logits() == trained.logits());
  const Text text;
  CHECK(run.model.forward(text.batch(), false).total ==
        trained.model.forward(text.batch(), false).total);
  // Generation makes products of few rows.
  const SampleOptions options{.tokens = 40, .temperature = 1, .seed = 5};
  for (const int prompt : {1, 7})
    CHECK(generate_tokens(run.model, {text.data, text.data + prompt}, options) ==
          generate_tokens(trained.model, {text.data, text.data + prompt}, options));
}

}  // namespace

TEST_CASE("Inference: logits, losses and samples have the bits of the model it was trained as",
          "[mixed][deterministic]") {
  check_same_bits<llama>();
  check_same_bits<mixture>();
  check_same_bits<positions>();
}

TEST_CASE("Inference: scaled embeddings are rounded twice", "[mixed]") {
  Made<scaled, Narrow> trained;
  Made<scaled, Runs> run;
  const double apart = distance(run.logits(), trained.logits());
  CHECK(apart > 0);
  CHECK(apart < 0.1);
}

TEST_CASE("Inference: any backend that stores activations narrowly has it", "[mixed][parity]") {
  Made<llama, Runs> cpu;
  Made<llama, Inference<Reference<float, bfloat16>>> oracle;
  CHECK(oracle.numbers() == cpu.numbers());
  CHECK(distance(cpu.logits(), oracle.logits()) < 0.02);
}

TEST_CASE("Inference: half the memory, and none for gradients", "[memory]") {
  using Model = Transformer<mixture, Runs>;
  using Trained = Transformer<mixture, Narrow>;
  const auto memory = Model::memory(tokens);
  const auto before = Trained::memory(tokens);
  CHECK(memory.grads == 0);
  CHECK(before.grads == before.params);
  std::size_t wide = 0;
  for (const LeafInfo& leaf : leaves<Model::Params>()) {
    const bool matrix =
        decays(leaf.role) && leaf.role != Role::router && leaf.role != Role::position;
    CHECK(leaf.value_bytes == (matrix ? 2 : 4));
    if (!matrix) wide += leaf.bytes();
  }
  CHECK(memory.params < before.params / 2 + wide);
  STATIC_REQUIRE(trains<Narrow> && !trains<Runs>);
  STATIC_REQUIRE(Backend<Runs> && Trainable<Trained> && !Trainable<Model>);
  STATIC_REQUIRE(std::is_same_v<Weight<Inference<Cpu<float>>>, float>);
}

TEST_CASE("Inference: loads what training saved, and training loads what it saved",
          "[checkpoint]") {
  const ScratchFolder folder;
  Made<mixture, Cpu<float>> trained(1), again(2);
  Made<mixture, Runs> run(3), twice(4);
  save(trained.model, folder / "float");
  load(run.model, folder / "float");
  CHECK(run.numbers() == Made<mixture, Runs>(1).numbers());

  // Its own files hold bfloat16, and every program reads them.
  save(run.model, folder / "narrow");
  load(twice.model, folder / "narrow");
  CHECK(twice.numbers() == run.numbers());
  load(again.model, folder / "narrow");
  CHECK(again.numbers() == run.numbers());
  const Safetensors file(folder / "narrow/model.safetensors");
  CHECK(file.dtype("token_embedding.weight") == Dtype::BF16);
  CHECK(file.dtype("blocks.0.ffn.router.weight") == Dtype::F32);
  CHECK(file.dtype("final_norm.weight") == Dtype::F32);
}

TEST_CASE("Inference: Hugging Face folders are imported and exported", "[io]") {
  const ScratchFolder folder;
  Made<llama, Cpu<float>> trained(1), again(2);
  Made<llama, Runs> run(3);
  export_hugging_face(trained.model, folder / "float");
  import_hugging_face(run.model, folder / "float");
  CHECK(run.numbers() == Made<llama, Runs>(1).numbers());
  export_hugging_face(run.model, folder / "narrow", {.dtype = Dtype::BF16});
  import_hugging_face(again.model, folder / "narrow");
  CHECK(distance(again.numbers(), run.numbers()) == 0);
}
