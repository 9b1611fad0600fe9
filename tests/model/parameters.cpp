#include <moe/backend/reference.hpp>
#include <moe/model/parameters.hpp>
#include <moe/model/transformer.hpp>

#include "../benchmarks/configs.hpp"
#include "catch.hpp"
#include "io/scratch.hpp"

namespace {

using namespace moe;

template <ModelConfig config>
ParameterCount count() {
  return parameter_count<Transformer<config, Reference<double>>>();
}
constexpr ModelConfig with(ModelConfig config, auto change) {
  change(config);
  return config;
}

// The models of blueberry-llm and llm-moe: plain experts of the dense width, tied embedding, no
// biases.
constexpr ModelConfig blueberry = bench::simple.model;
constexpr ModelConfig llm_dense = with(blueberry, [](ModelConfig& c) { c.moe = {}; });
constexpr ModelConfig llm_alternate =
    with(llm_dense, [](ModelConfig& c) { c.moe = {.experts = 8, .every = 2, .offset = 1}; });

TEST_CASE("Parameters: llm-moe, dense and with experts in every second layer", "[counts]") {
  CHECK(count<llm_dense>().total == 29'496'192);
  CHECK(count<llm_dense>().active == 29'496'192);
  CHECK(count<llm_dense>().embedding == 18'874'368);
  CHECK(count<llm_alternate>().total == 54'278'016);
  CHECK(count<llm_alternate>().active == 33'044'352);
}

TEST_CASE("Parameters: blueberry-llm, experts in every layer", "[counts]") {
  CHECK(count<blueberry>().total == 79'059'840);
  CHECK(count<blueberry>().active == 36'592'512);
}

constexpr ModelConfig shakespeare_moe = shakespeare::full_config;
constexpr ModelConfig shakespeare_quick = with(shakespeare_moe, [](ModelConfig& c) {
  c.dim = 256;
  c.layers = 2;
  c.heads = 4;
  c.context = 128;
  c.moe.experts = 4;
  c.moe.hidden = 512;
});

TEST_CASE("Parameters: the Tiny-Shakespeare mixture", "[counts]") {
  CHECK(count<shakespeare_moe>().total == 21'419'168);
  CHECK(count<shakespeare_moe>().active == 7'235'744);
  CHECK(count<shakespeare_quick>().total == 2'683'656);
}

TEST_CASE("Parameters: the demo", "[counts]") {
  CHECK(count<shakespeare::demo_config>().total == 1'846'528);
}

// The models of the program upcycle: positions are not learned, and the router has a bias.
constexpr ModelConfig grown_dense = growth::paper_simple;
constexpr ModelConfig grown = growth::mixture(grown_dense, Recipe::copy);

TEST_CASE("Parameters: dense to mixture, with LayerNorm, GELU and biases", "[counts]") {
  CHECK(count<grown_dense>().total == 100'038'016);
  CHECK(count<grown>().total == 371'640'312);
  CHECK(count<grown>().active == 138'878'328);
  CHECK(count<growth::small_simple>().total == 16'025'344);
}

TEST_CASE("Parameters: learned positions are counted", "[counts]") {
  constexpr ModelConfig learned =
      with(grown_dense, [](ModelConfig& c) { c.position = Position::learned; });
  CHECK(count<learned>().total == 100'038'016 + 212'992);
}

constexpr ModelConfig swiglu_dense = growth::paper_smollm;
constexpr ModelConfig swiglu = growth::mixture(swiglu_dense, Recipe::copy);

TEST_CASE("Parameters: dense to mixture, with RMSNorm, RoPE and SwiGLU", "[counts]") {
  CHECK(count<swiglu_dense>().total == 119'355'392);
  CHECK(count<swiglu>().total == 526'429'752);
  CHECK(count<swiglu>().active == 177'548'856);
}

constexpr ModelConfig nano_gpt{.vocab = 65,
                               .dim = 384,
                               .layers = 6,
                               .heads = 6,
                               .context = 256,
                               .norm = Norm::layer,
                               .position = Position::learned,
                               .activation = Activation::gelu};
constexpr ModelConfig nano_gpt_cpu = with(nano_gpt, [](ModelConfig& c) {
  c.dim = 128;
  c.layers = 4;
  c.heads = 4;
  c.context = 64;
});

TEST_CASE("Parameters: nanoGPT's character models", "[counts]") {
  CHECK(count<nano_gpt>().total == 10'745'088);
  CHECK(count<nano_gpt>().active == 10'745'088);
  CHECK(count<nano_gpt_cpu>().total == 804'096);
}

constexpr ModelConfig separate{.vocab = 100,
                               .dim = 8,
                               .layers = 1,
                               .heads = 2,
                               .hidden = 3,
                               .context = 4,
                               .tied = false,
                               .moe = {.experts = 4, .top_k = 1, .shared_experts = 2}};

TEST_CASE("Parameters: a separate head is active, the embedding beside it is not", "[counts]") {
  const std::size_t rest = 4 * 64 + 2 * 8 + 4 * 8 + 8;  // attention, norms, router, final norm
  const std::size_t expert = 3 * 8 * 3, shared = 2 * expert;
  CHECK(count<separate>().total == 800 + 800 + rest + shared + 4 * expert);
  CHECK(count<separate>().active == 800 + rest + shared + expert);
  CHECK(count<separate>().embedding == 800);
}

TEST_CASE("Parameters: the bias that balances the load is no parameter", "[counts]") {
  constexpr ModelConfig balanced = with(separate, [](ModelConfig& c) { c.moe.expert_bias = true; });
  CHECK(count<balanced>().total == count<separate>().total);
  CHECK(count<balanced>().active == count<separate>().active);
}

TEST_CASE("parameter: finds a leaf by its name, or says which there are", "[error]") {
  Reference<double> backend;
  constexpr ModelConfig tiny{
      .vocab = 5, .dim = 4, .layers = 2, .heads = 1, .hidden = 6, .context = 4};
  Transformer<tiny, Reference<double>> model{backend, {}};
  const auto up = model.parameter("blocks.1.ffn.up_proj.weight");
  CHECK(up.data == model.params().blocks.dense[1].ffn.up_proj.weight.data);
  CHECK(up.rows == 6);
  CHECK(up.cols == 4);
  const auto grad = parameter<double>(model.grads(), "blocks.1.ffn.up_proj.weight");
  CHECK(grad.data == model.grads().blocks.dense[1].ffn.up_proj.weight.data);
  const std::string why = test::message_of([&] { model.parameter("blocks.2.ffn.up_proj.weight"); });
  CHECK(why.find("'blocks.2.ffn.up_proj.weight'") != std::string::npos);
  CHECK(why.find("'token_embedding.weight' to 'final_norm.weight'") != std::string::npos);
  // Tied weights: the head has none of its own.
  CHECK(test::message_of([&] { model.parameter("head.weight"); }).find("'head.weight'") !=
        std::string::npos);
}

}  // namespace
