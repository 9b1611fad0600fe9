// A model family that the library does not know: one object describes it, and is given to import
// and export.
#include <array>
#include <moe/backend/reference.hpp>
#include <moe/checkpoint/hugging_face.hpp>
#include <moe/model/transformer.hpp>

#include "catch.hpp"
#include "io/scratch.hpp"

namespace {

using namespace moe;
using test::has;
using test::is_sentence;
using test::message_of;
using test::ScratchFolder;

// An invented family "camel", a Llama with experts: it has other names, one matrix without bias for
// gate and up of an expert, and sigmoid scores.
HuggingFaceConfig read_camel(const HuggingFaceFields& fields) {
  HuggingFaceConfig c = detail::read_llama_body(fields, 1e-5, 1e4);
  c.model.moe = {.experts = fields.integer("humps"),
                 .top_k = fields.integer("humps_per_token", 1),
                 .hidden = c.model.hidden,
                 .scoring = Scoring::sigmoid};
  return c;
}
void write_camel(const ModelConfig& c, const Options& o, Json& json) {
  detail::write_llama_body(c, o, json);
  json["humps"] = c.moe.experts;
  json["humps_per_token"] = c.moe.top_k;
}
std::string refusal_of_camel(const ModelConfig& c) {
  if (c.moe.experts == 0) return "moe.experts is 0";
  if (c.moe.scoring != Scoring::sigmoid) return "moe.scoring is not sigmoid";
  return detail::refusal_of_llama_body(c);
}
constexpr HuggingFaceName camel_names[] = {
    {"token_embedding", "tokens"},
    {"final_norm", "norm"},
    {"blocks.#.attn_norm", "layers.#.before"},
    {"blocks.#.attn.q", "layers.#.qkv", false, 0, 3},
    {"blocks.#.attn.k", "layers.#.qkv", false, 1, 3},
    {"blocks.#.attn.v", "layers.#.qkv", false, 2, 3},
    {"blocks.#.attn.o", "layers.#.out", true},
    {"blocks.#.ffn_norm", "layers.#.between"},
};
constexpr HuggingFaceName camel_experts[] = {
    {"blocks.#.ffn.router", "layers.#.saddle"},
    {"blocks.#.ffn.experts.gate_proj", "layers.#.hump.#.gate_up", false, 0, 2},
    {"blocks.#.ffn.experts.up_proj", "layers.#.hump.#.gate_up", false, 1, 2},
    {"blocks.#.ffn.experts.down_proj", "layers.#.hump.#.down"},
};
constexpr std::string_view camel_buffers[] = {"layers.#.mask"};
constexpr HuggingFaceFamily camel{
    .title = "Camel",
    .architecture = "CamelForCausalLM",
    .model_type = "camel",
    .read = read_camel,
    .write = write_camel,
    .refusal = refusal_of_camel,
    .names = {.prefix = "body.", .model = camel_names, .experts = camel_experts},
    .buffers = camel_buffers,
    .dense = &llama_family};

constexpr std::array families{&llama_family, &camel};
constexpr ModelConfig config{.vocab = 11,
                             .dim = 8,
                             .layers = 2,
                             .heads = 2,
                             .hidden = 12,
                             .context = 6,
                             .tied = false,
                             .moe = {.experts = 3, .top_k = 2, .scoring = Scoring::sigmoid}};
using Model = Transformer<config, Reference<float>>;

std::vector<float> numbers(Model& model) {
  std::vector<float> all;
  for (const LeafInfo& leaf : leaves<Model::Params>()) {
    const auto v = view<float>(model.params(), leaf);
    all.insert(all.end(), v.data, v.data + v.size);
  }
  return all;
}

}  // namespace

TEST_CASE("Hugging Face: a family of the user's own is exported and imported", "[io]") {
  const ScratchFolder folder;
  Reference<float> be;
  Model model(be, {.max_tokens = 6, .seed = 1}), other(be, {.max_tokens = 6, .seed = 2});
  REQUIRE(numbers(model) != numbers(other));
  export_hugging_face(model, folder / "a", {}, families);
  const HuggingFaceConfig read = read_hugging_face_config(folder / "a", families);
  CHECK(read.family == &camel);
  CHECK(read.model.moe.scoring == Scoring::sigmoid);
  CHECK(hugging_face_options(folder / "a", {}, families).rope_base == model.options().rope_base);
  const HuggingFaceTensors files(folder / "a");
  CHECK(files.at("body.layers.1.qkv.weight").shape == std::vector<std::size_t>{24, 8});
  CHECK(files.at("body.layers.0.hump.2.gate_up.weight").shape == std::vector<std::size_t>{24, 8});
  CHECK(files.contains("body.layers.1.saddle.weight"));
  CHECK(files.contains("lm_head.weight"));
  import_hugging_face(other, folder / "a", families);
  CHECK(numbers(other) == numbers(model));

  // Fields of a folder of the family that the library does not know are kept in the next export.
  Json about = parse_json(read_file(folder / "a/config.json"));
  about["color"] = "sand";
  write_file(folder / "a/config.json", about.dump());
  export_hugging_face(other, folder / "b", {.like = folder / "a"}, families);
  about = parse_json(read_file(folder / "b/config.json"));
  CHECK(about.at("color") == Json("sand"));
  CHECK(about.at("model_type") == Json("camel"));
}

TEST_CASE("Hugging Face: an unknown family is refused, the known ones are named", "[error]") {
  const ScratchFolder folder;
  Reference<float> be;
  Model model(be, {.max_tokens = 6});
  export_hugging_face(model, folder / "a", {}, families);
  const std::string unread = message_of([&] { import_hugging_face(model, folder / "a"); });
  CHECK(is_sentence(unread));
  CHECK(has(unread, "model_type is \"camel\" where gpt2, llama or mixtral is expected"));
  CHECK(has(unread, "use a checkpoint of GPT-2, Llama or Mixtral"));
  const std::string unwritten = message_of([&] { export_hugging_face(model, folder / "b"); });
  CHECK(is_sentence(unwritten));
  CHECK(has(unwritten, "not as Mixtral because ModelConfig.moe.scoring is not softmax"));
}

TEST_CASE("Hugging Face: a buffer is known by its pattern, and only in layers that exist", "[io]") {
  const auto is_buffer = [](const char* name) {
    return detail::is_buffer(camel, "body.", 2, name);
  };
  CHECK(is_buffer("body.layers.0.mask"));
  CHECK(is_buffer("body.layers.1.mask"));
  for (const char* name : {"body.layers.2.mask", "body.layers.-1.mask", "body.layers.mask",
                           "body.layers..mask", "body.layers.0.mask.0", "body.layers.0.masks",
                           "layers.0.mask", "body.layers.99999999999.mask", "body.", ""})
    CHECK(!is_buffer(name));
}
