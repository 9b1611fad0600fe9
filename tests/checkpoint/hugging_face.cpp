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
using Shape = std::vector<std::size_t>;

constexpr ModelConfig gpt2{.vocab = 11,
                           .dim = 8,
                           .layers = 2,
                           .heads = 2,
                           .hidden = 12,
                           .context = 6,
                           .bias = true,
                           .norm = Norm::layer,
                           .position = Position::learned,
                           .activation = Activation::gelu_tanh};
constexpr ModelConfig llama{
    .vocab = 11, .dim = 8, .layers = 2, .heads = 4, .kv_heads = 2, .hidden = 12, .context = 6};
constexpr ModelConfig changed(ModelConfig c, auto change) {
  change(c);
  return c;
}
constexpr ModelConfig untied = changed(llama, [](ModelConfig& c) { c.tied = false; });
constexpr ModelConfig biased = changed(untied, [](ModelConfig& c) {
  c.bias = true;
  c.activation = Activation::geglu;
});
constexpr ModelConfig mixtral =
    changed(untied, [](ModelConfig& c) { c.moe = {.experts = 3, .top_k = 2}; });
/// A model whose hidden_size is twice its intermediate_size.
constexpr ModelConfig narrow = changed(mixtral, [](ModelConfig& c) { c.moe.hidden = 4; });

/// A model whose parameters are all different from each other.
template <ModelConfig C, class B = Reference<float>>
struct Made {
  using Params = typename Transformer<C, B>::Params;
  B be;
  Transformer<C, B> model;

  explicit Made(std::uint64_t seed = 1, Options options = {})
      : model(be, [&] {
          options.max_tokens = C.context;
          options.seed = seed;
          return options;
        }()) {
    for (const LeafInfo& leaf : leaves<Params>()) {
      const auto v = view<Wide<B>>(model.params(), leaf);
      for (std::size_t i = 0; i < v.size; ++i)
        v.data[i] += Wide<B>(0.001) * Wide<B>(1 + i % 97) + Wide<B>(0.01) * Wide<B>(seed);
    }
  }
  /// All parameters, one after the other.
  std::vector<Wide<B>> numbers() {
    std::vector<Wide<B>> all;
    for (const LeafInfo& leaf : leaves<Params>()) {
      const auto v = view<Wide<B>>(model.params(), leaf);
      all.insert(all.end(), v.data, v.data + v.size);
    }
    return all;
  }
  LeafView<Wide<B>> leaf(const std::string& name) {
    const auto& names = leaf_names<Params>();
    const auto at = std::find(names.begin(), names.end(), name);
    REQUIRE(at != names.end());
    return view<Wide<B>>(model.params(), leaves<Params>()[std::size_t(at - names.begin())]);
  }
};

/// A checkpoint in memory that a test changes before it writes it again.
struct Checkpoint {
  struct Tensor {
    Shape shape;
    std::vector<float> values;
  };
  std::map<std::string, Tensor> tensors;
  Json config;

  explicit Checkpoint(const std::string& folder) {
    const HuggingFaceTensors files(folder);
    for (const std::string& name : files.names()) {
      Tensor& t = tensors[name];
      t.shape = files.at(name).shape;
      t.values.resize(files.at(name).elements());
      files.read(name, 0, t.values.data(), t.values.size());
    }
    config = parse_json(read_file(folder + "/config.json"));
  }
  std::vector<TensorView> views() const {
    std::vector<TensorView> all;
    for (const auto& [name, t] : tensors)
      all.push_back(tensor_view(name, t.shape, t.values.data()));
    return all;
  }
  void write(const std::string& folder) const {
    make_folders(folder);
    write_file(folder + "/config.json", config.dump());
    save_safetensors(folder + "/model.safetensors", views());
  }
  /// Deals the tensors out to the files in turn; the index names them in reverse order.
  void write_sharded(const std::string& folder, std::size_t files) const {
    make_folders(folder);
    write_file(folder + "/config.json", config.dump());
    Json::Object map;
    std::vector<std::vector<TensorView>> parts(files);
    std::size_t at = 0;
    for (const TensorView& view : views()) {
      parts[at % files].push_back(view);
      map.insert(map.begin(), {view.name, "part-" + std::to_string(at++ % files)});
    }
    for (std::size_t i = 0; i < files; ++i)
      save_safetensors(folder + "/part-" + std::to_string(i), parts[i]);
    Json index;
    index["metadata"]["total_size"] = 1;  // wrong, but nothing reads it
    index["weight_map"] = std::move(map);
    write_file(folder + "/model.safetensors.index.json", index.dump());
  }
  void rename(const std::string& from, const std::string& to) {
    tensors[to] = tensors.at(from);
    tensors.erase(from);
  }
};

/// A Mixtral checkpoint with its experts fused as transformers 5 fuses them; `transposed`: with the
/// matrices transposed.
Checkpoint fused(Checkpoint c, std::size_t experts, bool transposed) {
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    const std::string old = layer + "block_sparse_moe.";
    c.rename(old + "gate.weight", layer + "mlp.gate.weight");
    for (const bool down : {false, true}) {
      Checkpoint::Tensor all;
      for (std::size_t e = 0; e < experts; ++e) {
        Checkpoint::Tensor one;
        for (const char* part : down ? std::vector{"w2"} : std::vector{"w1", "w3"}) {
          const std::string name = old + "experts." + std::to_string(e) + "." + part + ".weight";
          const Checkpoint::Tensor& t = c.tensors.at(name);
          one.shape = {(one.shape.empty() ? 0 : one.shape[0]) + t.shape[0], t.shape[1]};
          one.values.insert(one.values.end(), t.values.begin(), t.values.end());
          c.tensors.erase(name);
        }
        const std::size_t rows = one.shape[0], cols = one.shape[1];
        all.shape = transposed ? Shape{experts, cols, rows} : Shape{experts, rows, cols};
        for (std::size_t i = 0; i < rows * cols; ++i)
          all.values.push_back(one.values[transposed ? i % rows * cols + i / rows : i]);
      }
      c.tensors[layer + "mlp.experts." + (down ? "down_proj" : "gate_up_proj")] = all;
    }
  }
  return c;
}

/// The error of an import, or "" if there is none and the model now has the numbers `wanted`.
template <ModelConfig C>
std::string import_message(const std::string& folder, const std::vector<float>& wanted) {
  Made<C> other(2);
  const std::vector<float> before = other.numbers();
  const std::string message = message_of([&] { import_hugging_face(other.model, folder); });
  CHECK(other.numbers() == (message.empty() ? wanted : before));  // all or nothing
  return message;
}

template <ModelConfig C>
void check_round_trip(const HuggingFaceExport& how = {}) {
  const ScratchFolder folder;
  Made<C> made;
  export_hugging_face(made.model, folder / "a", how);
  CHECK(import_message<C>(folder / "a", made.numbers()) == "");
}

}  // namespace

TEST_CASE("Hugging Face: what was exported is imported, bit for bit", "[io]") {
  check_round_trip<gpt2>();
  check_round_trip<llama>();
  check_round_trip<untied>();
  check_round_trip<biased>();
  check_round_trip<mixtral>();
  check_round_trip<narrow>();
  check_round_trip<mixtral>({.shard_bytes = 700});
  check_round_trip<gpt2>({.dtype = Dtype::F64});
}

TEST_CASE("Hugging Face: double parameters survive in F64 files", "[io]") {
  const ScratchFolder folder;
  Made<mixtral, Reference<double>> made, other(2);
  export_hugging_face(made.model, folder / "a", {.dtype = Dtype::F64});
  import_hugging_face(other.model, folder / "a");
  CHECK(other.numbers() == made.numbers());
}

TEST_CASE("Hugging Face: GPT-2's matrices are transposed, q, k and v side by side", "[external]") {
  const ScratchFolder folder;
  Made<gpt2> made;
  export_hugging_face(made.model, folder / "a");
  const Checkpoint c(folder / "a");
  const auto& attn = c.tensors.at("transformer.h.1.attn.c_attn.weight");
  REQUIRE(attn.shape == Shape{8, 24});
  const auto& bias = c.tensors.at("transformer.h.1.attn.c_attn.bias");
  REQUIRE(bias.shape == Shape{24});
  std::size_t third = 0;
  for (const std::string name : {"q", "k", "v"}) {
    const auto weight = made.leaf("blocks.1.attn." + name + ".weight");
    for (std::size_t out = 0; out < 8; ++out) {
      for (std::size_t in = 0; in < 8; ++in)
        CHECK(attn.values[in * 24 + third * 8 + out] == weight.data[out * 8 + in]);
      CHECK(bias.values[third * 8 + out] == made.leaf("blocks.1.attn." + name + ".bias").data[out]);
    }
    ++third;
  }
  const auto& up = c.tensors.at("transformer.h.0.mlp.c_fc.weight");
  REQUIRE(up.shape == Shape{8, 12});
  CHECK(up.values[3 * 12 + 5] == made.leaf("blocks.0.ffn.up_proj.weight").data[5 * 8 + 3]);
  CHECK(c.tensors.at("transformer.wpe.weight").shape == Shape{6, 8});
  CHECK(c.tensors.at("transformer.ln_f.bias").values[2] == made.leaf("final_norm.bias").data[2]);
  CHECK(c.tensors.size() == 2 * 12 + 4);
}

TEST_CASE("Hugging Face: GPT-2 without prefix and with its old buffers", "[io]") {
  const ScratchFolder folder;
  Made<gpt2> made;
  export_hugging_face(made.model, folder / "a");
  Checkpoint c(folder / "a");
  const auto names = c.tensors;
  for (const auto& [name, tensor] : names) c.rename(name, name.substr(12));
  c.write(folder / "b");
  CHECK(import_message<gpt2>(folder / "b", made.numbers()) == "");
  c.tensors["h.0.attn.bias"] = c.tensors["h.1.attn.bias"] = {{1, 1, 6, 6}, std::vector<float>(36)};
  c.tensors["h.1.attn.masked_bias"] = {{}, {-1e4f}};
  c.write(folder / "b");
  CHECK(import_message<gpt2>(folder / "b", made.numbers()) == "");
  for (const char* name : {"h.2.attn.bias", "h.00x.attn.bias", "h.0.attn.other", "attn.bias"}) {
    Checkpoint more = c;
    more.tensors[name] = {{1}, {0}};
    more.write(folder / "b");
    CHECK(has(import_message<gpt2>(folder / "b", {}), name + std::string("' is unexpected")));
  }
}

TEST_CASE("Hugging Face: Mixtral's experts have the names of their place", "[external]") {
  const ScratchFolder folder;
  Made<mixtral> made;
  export_hugging_face(made.model, folder / "a");
  const Checkpoint c(folder / "a");
  const auto check = [&](const std::string& theirs, const Shape& shape, const std::string& ours,
                         int matrix) {
    const auto& t = c.tensors.at("model.layers.1.block_sparse_moe." + theirs + ".weight");
    CHECK(t.shape == shape);
    const float* from = made.leaf("blocks.1.ffn." + ours + ".weight").matrix(matrix);
    CHECK(t.values == std::vector<float>(from, from + t.values.size()));
  };
  check("gate", {3, 8}, "router", 0);
  check("experts.0.w1", {12, 8}, "experts.gate_proj", 0);
  check("experts.2.w1", {12, 8}, "experts.gate_proj", 2);
  check("experts.2.w2", {8, 12}, "experts.down_proj", 2);
  check("experts.1.w3", {12, 8}, "experts.up_proj", 1);
}

TEST_CASE("Hugging Face: both layouts of Mixtral and several files give the same bits", "[io]") {
  const ScratchFolder folder;
  Made<mixtral> made;
  export_hugging_face(made.model, folder / "a");
  const Checkpoint separate(folder / "a");
  for (const bool transposed : {false, true}) {
    const Checkpoint all = fused(separate, 3, transposed);
    CHECK(all.tensors.at("model.layers.0.mlp.experts.gate_up_proj").shape ==
          (transposed ? Shape{3, 8, 24} : Shape{3, 24, 8}));
    all.write(folder / "fused");
    CHECK(import_message<mixtral>(folder / "fused", made.numbers()) == "");
  }
  separate.write_sharded(folder / "sharded", 4);
  CHECK(import_message<mixtral>(folder / "sharded", made.numbers()) == "");
  fused(separate, 3, false).write_sharded(folder / "both", 3);
  CHECK(import_message<mixtral>(folder / "both", made.numbers()) == "");
}

TEST_CASE("Hugging Face: fused experts that could lie either way round are refused", "[error]") {
  const ScratchFolder folder;
  Made<narrow> made;
  export_hugging_face(made.model, folder / "a");
  fused(Checkpoint(folder / "a"), 3, false).write(folder / "b");
  const std::string message = import_message<narrow>(folder / "b", {});
  CHECK(is_sentence(message));
  CHECK(has(message, "either way round"));
}

TEST_CASE("Hugging Face: narrow and wide element types are read and written", "[io]") {
  const ScratchFolder folder;
  for (const Dtype dtype : {Dtype::BF16, Dtype::F16}) {
    Made<untied> made, other(2);
    export_hugging_face(made.model, folder / "a", {.dtype = dtype});
    import_hugging_face(other.model, folder / "a");
    std::vector<float> wanted = made.numbers();
    for (float& x : wanted)
      x = dtype == Dtype::BF16 ? float(bfloat16(x)) : float_of_f16(f16_of_float(x));
    CHECK(other.numbers() == wanted);
    CHECK(wanted != made.numbers());
    const Json config = parse_json(read_file(folder / "a/config.json"));
    const Json name = dtype == Dtype::BF16 ? "bfloat16" : "float16";
    CHECK(config.at("torch_dtype") == name);
    CHECK(config.at("dtype") == name);
  }
  Made<untied> made;
  made.leaf("blocks.1.attn.o.weight").data[3] = 70000;
  const std::string before = read_file(folder / "a/config.json");
  const std::string message =
      message_of([&] { export_hugging_face(made.model, folder / "a", {.dtype = Dtype::F16}); });
  CHECK(is_sentence(message));
  CHECK(has(message, "model.layers.1.self_attn.o_proj.weight"));
  CHECK(has(message, "70000"));
  CHECK(read_file(folder / "a/config.json") == before);
  CHECK(is_sentence(
      message_of([&] { export_hugging_face(made.model, folder / "a", {.dtype = Dtype::I32}); })));
}

TEST_CASE("Hugging Face: every difference of the tensors is named, nothing is assigned",
          "[error]") {
  const ScratchFolder folder;
  Made<llama> made;
  export_hugging_face(made.model, folder / "a");
  const Checkpoint good(folder / "a");
  const auto why = [&](const Checkpoint& c) {
    c.write(folder / "b");
    const std::string message = import_message<llama>(folder / "b", made.numbers());
    CHECK((message.empty() || (is_sentence(message) && has(message, folder / "b"))));
    return message;
  };
  CHECK(why(good) == "");
  const std::string q = "model.layers.1.self_attn.q_proj.weight";
  Checkpoint c = good;
  c.tensors.erase(q);
  CHECK(has(why(c), "'" + q + "' is missing"));
  c = good;
  c.tensors[q].shape = {4, 16};
  CHECK(has(why(c), "'" + q + "' has shape [4,16] where [8,8] is expected"));
  c = good;
  c.tensors["model.layers.2.mlp.up_proj.weight"] = {{1}, {0}};
  CHECK(has(why(c), "'model.layers.2.mlp.up_proj.weight' is unexpected"));
  c = good;
  c.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{1}, {0}};
  CHECK(why(c) == "");
  c = good;
  c.tensors["lm_head.weight"] = c.tensors.at("model.embed_tokens.weight");
  CHECK(why(c) == "");
  c.tensors["lm_head.weight"].values[5] += 1;
  CHECK(has(why(c), "'lm_head.weight' is unexpected"));
  c = good;
  for (auto& [name, tensor] : c.tensors)
    if (has(name, "layers")) tensor.shape.push_back(1);
  CHECK(has(why(c), "the first 6 of 18 differences"));
  c = good;
  c.tensors.clear();
  CHECK(has(why(c), "'embed_tokens.weight' is missing"));

  std::vector<TensorView> views = good.views();
  const std::vector<std::int32_t> integers(64);
  for (TensorView& view : views)
    if (view.name == q) view = tensor_view(q, {8, 8}, integers.data());
  save_safetensors(folder / "b/model.safetensors", views);
  CHECK(has(import_message<llama>(folder / "b", {}), "'" + q + "' has elements I32"));
}

TEST_CASE("Hugging Face: every field of config.json that differs is named", "[error]") {
  const ScratchFolder folder;
  Made<mixtral> made;
  export_hugging_face(made.model, folder / "a");
  const Checkpoint good(folder / "a");
  const struct {
    const char* key;
    Json value;
    std::string file, model;
  } cases[] = {{"vocab_size", 12, "vocab 12", "vocab 11"},
               {"hidden_size", 16, "dim 16", "dim 8"},
               {"num_hidden_layers", 3, "layers 3", "layers 2"},
               {"num_key_value_heads", 4, "kv_heads 4", "kv_heads 2"},
               {"intermediate_size", 13, "moe.hidden 13", "moe.hidden 12"},
               {"max_position_embeddings", 7, "context 7", "context 6"},
               {"tie_word_embeddings", true, "tied true", "tied false"},
               {"hidden_act", "gelu", "activation \"geglu\"", "activation \"swiglu\""},
               {"num_local_experts", 4, "moe.experts 4", "moe.experts 3"},
               {"num_experts_per_tok", 1, "moe.top_k 1", "moe.top_k 2"},
               {"rms_norm_eps", 0.5, "norm_eps 0.5", "norm_eps 1e-05"}};
  for (const auto& c : cases) {
    INFO(c.key);
    Checkpoint other = good;
    other.config[c.key] = c.value;
    if (std::string(c.key) == "hidden_size") other.config["head_dim"] = 4;
    other.write(folder / "b");
    const std::string message = import_message<mixtral>(folder / "b", {});
    CHECK(is_sentence(message));
    CHECK(has(message, c.file));
    CHECK(has(message, c.model));
  }
  Checkpoint other = good;
  other.config["num_attention_heads"] = 2;
  other.config["head_dim"] = 4;
  other.config["rope_theta"] = 5.0;
  other.config["rope_parameters"] = Json();
  other.write(folder / "b");
  const std::string message = import_message<mixtral>(folder / "b", {});
  CHECK(has(message, "heads 2"));
  CHECK(has(message, "rope_base 5.0"));
  CHECK(has(message, "rope_base 10000.0"));
  Made<llama> dense;
  export_hugging_face(dense.model, folder / "dense");
  CHECK(has(import_message<mixtral>(folder / "dense", {}), "moe.experts 0"));
  Made<gpt2> gpt;
  export_hugging_face(gpt.model, folder / "gpt2");
  CHECK(has(import_message<llama>(folder / "gpt2", {}), "position \"learned\""));
}

TEST_CASE("Hugging Face: what config.json may not say is refused with the field", "[error]") {
  const ScratchFolder folder;
  Made<mixtral> mixture;
  Made<llama> dense;
  Made<gpt2> gpt;
  export_hugging_face(mixture.model, folder / "mixtral");
  export_hugging_face(dense.model, folder / "llama");
  export_hugging_face(gpt.model, folder / "gpt2");
  const Json linear = parse_json(R"({"type":"linear","factor":2.0})");
  const struct {
    const char *family, *key;
    Json value;
  } cases[] = {
      {"llama", "model_type", "qwen3_moe"},
      {"llama", "model_type", Json()},
      {"llama", "model_type", 3},
      {"llama", "vocab_size", Json()},
      {"llama", "vocab_size", 0},
      {"llama", "vocab_size", -1},
      {"llama", "vocab_size", 1.5},
      {"llama", "vocab_size", 1e300},
      {"llama", "vocab_size", "11"},
      {"llama", "vocab_size", std::int64_t(1) << 31},
      {"llama", "num_attention_heads", 3},
      {"llama", "num_key_value_heads", true},
      {"llama", "head_dim", 4},
      {"llama", "hidden_act", "relu"},
      {"llama", "attention_bias", "no"},
      {"llama", "mlp_bias", true},
      {"llama", "tie_word_embeddings", 1},
      {"llama", "rms_norm_eps", 0.0},
      {"llama", "rms_norm_eps", "1e-5"},
      {"llama", "rope_theta", -1.0},
      {"llama", "rope_parameters", 3},
      {"llama", "rope_scaling", linear},
      {"llama", "rope_scaling", parse_json(R"({"rope_type":"llama3","factor":8.0})")},
      {"llama", "rope_parameters", linear},
      {"llama", "rope_parameters", parse_json(R"({"rope_type":"default","rope_theta":5.0})")},
      {"llama", "rope_parameters", parse_json(R"({"full_attention":{"rope_theta":1e4}})")},
      {"llama", "rope_parameters", parse_json(R"({"partial_rotary_factor":0.5})")},
      {"llama", "partial_rotary_factor", 0.5},
      {"llama", "layer_types", parse_json(R"(["full_attention","sliding_attention"])")},
      {"llama", "quantization_config", parse_json(R"({"quant_method":"gptq"})")},
      {"mixtral", "sliding_window", 5},
      {"mixtral", "num_experts_per_tok", 4},
      {"mixtral", "num_local_experts", Json()},
      {"mixtral", "num_key_value_heads", Json()},
      {"mixtral", "attention_bias", true},
      {"gpt2", "activation_function", "relu"},
      {"gpt2", "n_inner", 0},
      {"gpt2", "n_positions", Json()},
      {"gpt2", "scale_attn_weights", false},
      {"gpt2", "scale_attn_by_inverse_layer_idx", true},
      {"gpt2", "add_cross_attention", true},
      {"gpt2", "layer_norm_epsilon", -1e-5},
  };
  for (const auto& c : cases) {
    INFO(c.family << " " << c.key << " " << c.value.dump());
    Checkpoint changed(folder / c.family);
    changed.config[c.key] = c.value;
    changed.write(folder / "b");
    const std::string message = message_of([&] { read_hugging_face_config(folder / "b"); });
    CHECK(is_sentence(message));
    CHECK(has(message, folder / "b/config.json"));
    CHECK(has(message, c.key + std::string(" is ")));
  }
  const auto refuses = [&](const std::string& text, const std::string& why) {
    write_file(folder / "b/config.json", text);
    const std::string message = message_of([&] { read_hugging_face_config(folder / "b"); });
    CHECK(is_sentence(message));
    CHECK(has(message, why));
  };
  refuses("[]", "it is no JSON object");
  refuses("{", "as JSON");
  refuses(std::string((1 << 20) + 1, ' '), "1048577 bytes");
  CHECK(has(message_of([&] { read_hugging_face_config(folder / "none"); }), "No such file"));
}

TEST_CASE("Hugging Face: config.json in the spellings of both versions", "[io]") {
  const ScratchFolder folder;
  const auto read = [&](const std::string& text) {
    write_file(folder / "config.json", text);
    return read_hugging_face_config(folder.path());
  };
  const std::string base =
      R"({"model_type":"llama","vocab_size":96,"hidden_size":32,"intermediate_size":80,
          "num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":64)";
  HuggingFaceConfig c = read(base + "}");
  CHECK(c.family == &llama_family);
  CHECK(c.model.kv_heads == 4);
  CHECK(!c.model.tied);
  CHECK(!c.model.bias);
  CHECK(c.norm_eps == 1e-6);
  CHECK(c.rope_base == 1e4);
  c = read(base + R"(,"rope_theta":1000000,"rope_scaling":null,"head_dim":null,
                     "num_key_value_heads":2,"tie_word_embeddings":true,"rms_norm_eps":1e-05})");
  CHECK(c.rope_base == 1e6);
  CHECK(c.model.kv_heads == 2);
  CHECK(c.model.tied);
  CHECK(c.norm_eps == 1e-5);
  c = read(base + R"(,"rope_parameters":{"rope_type":"default","rope_theta":5e5},"head_dim":8,
                     "attention_bias":true,"mlp_bias":true})");
  CHECK(c.rope_base == 5e5);
  CHECK(c.model.bias);
  Options options = hugging_face_options(folder.path(), {.max_tokens = 3, .seed = 7});
  CHECK(options.norm_eps == 1e-6);
  CHECK(options.rope_base == 5e5);
  CHECK(options.max_tokens == 3);
  CHECK(options.seed == 7);
  c = read(R"({"model_type":"gpt2","vocab_size":96,"n_embd":32,"n_layer":2,"n_head":4,
               "n_positions":64,"n_ctx":64,"n_inner":null})");
  CHECK(c.family == &gpt2_family);
  CHECK(c.model.hidden == 128);
  CHECK(c.model.tied);
  CHECK(c.model.activation == Activation::gelu_tanh);
  CHECK(c.norm_eps == 1e-5);
  CHECK(hugging_face_options(folder.path(), {.rope_base = 3}).rope_base == 3);
}

TEST_CASE("Hugging Face: an index that does not fit its files is refused", "[error]") {
  const ScratchFolder folder;
  Made<llama> made;
  export_hugging_face(made.model, folder / "a");
  const Checkpoint good(folder / "a");
  good.write_sharded(folder / "b", 2);
  const std::string index = folder / "b/model.safetensors.index.json";
  const std::string text = read_file(index);
  const auto why = [&](const std::string& changed_index) {
    write_file(index, changed_index);
    const std::string message = import_message<llama>(folder / "b", made.numbers());
    CHECK((message.empty() || is_sentence(message)));
    return message;
  };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string result = text;
    const auto at = result.find(from);
    REQUIRE(at != std::string::npos);
    return result.replace(at, from.size(), to);
  };
  CHECK(why(text) == "");
  for (const std::string name :
       {"../b/part-1", "/etc/passwd", "a/part-1", "a\\\\part-1", "..", ".", "", "part-1\\u0000"})
    CHECK(has(why(replaced("\"part-1\"", "\"" + name + "\"")), "is no plain file name"));
  CHECK(has(why(replaced("\"part-1\"", "7")), "string is expected"));
  CHECK(has(why(replaced("\"part-1\"", "\"part-9\"")), "No such file"));
  CHECK(has(why(replaced("\"part-1\"", "\"part-0\"")), "and by the index in 'part-0'"));
  CHECK(has(why(replaced("model.norm.weight", "model.other.weight")), "model.norm.weight"));
  CHECK(has(why(replaced("{\"model.norm.weight\":\"part-1\",", "{")), "which the index lacks"));
  CHECK(has(why(replaced("{\"model.norm.weight\"", "{\"x\":\"part-1\",\"model.norm.weight\"")),
            "tensor 'x' into 'part-1', which lacks it"));
  CHECK(has(why(replaced("{\"model.norm.weight\"",
                         "{\"model.norm.weight\":\"part-1\",\"model.norm.weight\"")),
            "given twice"));
  CHECK(has(why("{}"), "no weight_map"));
  CHECK(has(why(R"({"weight_map":{},"weight_map":{}})"), "given twice"));
  CHECK(has(why("[]"), "object is expected"));
  CHECK(has(why(R"({"weight_map":{}})"), "'embed_tokens.weight' is missing"));

  // A tensor that two files hold.
  std::vector<TensorView> views;
  for (const TensorView& view : good.views())
    if (view.name == "model.norm.weight") views.push_back(view);
  REQUIRE(views.size() == 1);
  write_file(index, text);
  good.write_sharded(folder / "b", 2);
  const Safetensors zero(folder / "b/part-0");
  std::vector<std::vector<float>> values;
  std::vector<TensorView> both = views;
  for (const auto& tensor : zero.tensors()) {
    values.push_back(zero.read<float>(tensor.name));
    both.push_back(tensor_view(tensor.name, tensor.shape, values.back().data()));
  }
  save_safetensors(folder / "b/part-0", both);
  CHECK(has(why(text), "tensor 'model.norm.weight' is in 'part-0', and by the index in 'part-1'"));
  CHECK(has(message_of([&] { HuggingFaceTensors(folder / "none"); }), "neither model.safetensors"));
}

TEST_CASE("Hugging Face: a damaged tensor file is refused before anything is assigned", "[error]") {
  const ScratchFolder folder;
  Made<llama> made;
  export_hugging_face(made.model, folder / "a");
  const std::string path = folder / "a/model.safetensors", bytes = read_file(path);
  for (const std::size_t size : {std::size_t(0), std::size_t(100), bytes.size() - 1}) {
    write_file(path, bytes.substr(0, size));
    CHECK(is_sentence(import_message<llama>(folder / "a", {})));
  }
}

TEST_CASE("Hugging Face: a model built with other numbers than the file's is refused", "[error]") {
  const ScratchFolder folder;
  Made<llama> made(1, {.norm_eps = 1e-6, .rope_base = 12345});
  export_hugging_face(made.model, folder / "a");
  Made<llama> same(2, hugging_face_options(folder / "a"));
  import_hugging_face(same.model, folder / "a");
  CHECK(same.numbers() == made.numbers());
  const std::string message = import_message<llama>(folder / "a", {});
  CHECK(is_sentence(message));
  CHECK(has(message, "norm_eps 1e-06, rope_base 12345.0"));
  CHECK(has(message, "norm_eps 1e-05, rope_base 10000.0"));
}

TEST_CASE("Hugging Face: the exported config.json has the spellings of both versions", "[io]") {
  const ScratchFolder folder;
  Made<mixtral> made(1, {.balance_weight = 0.02});
  export_hugging_face(made.model, folder / "a", {.bos_token = 1, .eos_token = 2});
  const Json c = parse_json(read_file(folder / "a/config.json"));
  CHECK(c.at("architectures").dump() == R"(["MixtralForCausalLM"])");
  CHECK(c.at("rope_theta").dump() == "10000.0");
  CHECK(c.at("rope_parameters").dump() == R"({"rope_type":"default","rope_theta":10000.0})");
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings",
        "num_local_experts", "num_experts_per_tok", "bos_token_id", "eos_token_id"})
    CHECK(c.at(key).is_integer());
  CHECK(c.at("router_aux_loss_coef") == Json(0.01));
  CHECK(c.at("sliding_window").is_null());
  CHECK(parse_json(read_file(folder / "a/generation_config.json")).dump() ==
        R"({"bos_token_id":1,"eos_token_id":2})");
  CHECK(Safetensors(folder / "a/model.safetensors").metadata().at("format") == "pt");
  Made<gpt2> gpt;
  export_hugging_face(gpt.model, folder / "a");
  const Json g = parse_json(read_file(folder / "a/config.json"));
  CHECK(g.at("n_ctx") == Json(6));
  CHECK(g.at("n_positions") == Json(6));
  CHECK(g.at("bos_token_id").is_null());
}

TEST_CASE("Hugging Face: files are cut at the limit, a large tensor has one of its own", "[io]") {
  const ScratchFolder folder;
  Made<llama> made;
  export_hugging_face(made.model, folder / "a", {.shard_bytes = 300});
  const Json index = parse_json(read_file(folder / "a/model.safetensors.index.json"));
  const auto& map = index.at("weight_map").members("weight_map");
  std::map<std::string, std::uint64_t> bytes, tensors;
  std::uint64_t total = 0;
  for (const auto& [name, file] : map) {
    const std::string path = folder / ("a/" + file.as_string("file"));
    const auto tensor = Safetensors(path).at(name);
    bytes[path] += tensor.end - tensor.begin;
    tensors[path] += 1;
    total += tensor.end - tensor.begin;
  }
  CHECK(map.size() == 2 * 9 + 2);
  CHECK(index.at("metadata").at("total_size") == Json(total));
  CHECK(detail::exists(folder / "a/model-00001-of-000" + std::to_string(bytes.size()) +
                       ".safetensors"));
  bool large = false, several = false;
  for (const auto& [path, size] : bytes) {
    CHECK((size <= 300 || tensors[path] == 1));
    large = large || size > 300;
    several = several || tensors[path] > 1;
  }
  CHECK(large);
  CHECK(several);
  CHECK(!detail::exists(folder / "a/model.safetensors"));
  export_hugging_face(made.model, folder / "a");
  CHECK(!detail::exists(folder / "a/model.safetensors.index.json"));
}

TEST_CASE("Hugging Face: a structure that no architecture has is refused with its field",
          "[error]") {
  const struct {
    ModelConfig config;
    const char* field;
  } cases[] = {
      {changed(llama, [](ModelConfig& c) { c.qk_norm = true; }), "qk_norm"},
      {changed(llama, [](ModelConfig& c) { c.scale_embedding = true; }), "scale_embedding"},
      {changed(llama, [](ModelConfig& c) { c.position = Position::rope_interleaved; }), "position"},
      {changed(llama, [](ModelConfig& c) { c.position = Position::learned; }), "position"},
      {changed(llama, [](ModelConfig& c) { c.activation = Activation::silu; }), "activation"},
      {changed(gpt2, [](ModelConfig& c) { c.moe.experts = 4; }), "norm"},
      {changed(gpt2, [](ModelConfig& c) { c.bias = false; }), "bias"},
      {changed(gpt2, [](ModelConfig& c) { c.position = Position::none; }), "position"},
      {changed(gpt2, [](ModelConfig& c) { c.activation = Activation::swiglu; }), "activation"},
      {changed(gpt2, [](ModelConfig& c) { c.kv_heads = 1; }), "kv_heads"},
      {changed(mixtral, [](ModelConfig& c) { c.bias = true; }), "bias"},
      {changed(mixtral, [](ModelConfig& c) { c.moe.every = 2; }), "moe.every"},
      {changed(mixtral, [](ModelConfig& c) { c.moe.last_half = true; }), "moe.every"},
      {changed(mixtral, [](ModelConfig& c) { c.moe.shared_experts = 1; }), "moe.shared_experts"},
      {changed(mixtral, [](ModelConfig& c) { c.moe.scoring = Scoring::sigmoid; }), "moe.scoring"},
      {changed(mixtral, [](ModelConfig& c) { c.moe.renormalize = false; }), "moe.renormalize"},
      {changed(mixtral, [](ModelConfig& c) { c.moe.router_bias = true; }), "moe.router_bias"},
      {changed(mixtral, [](ModelConfig& c) { c.moe.expert_bias = true; }), "moe.expert_bias"},
  };
  for (const auto& c : cases) {
    INFO(c.field);
    const std::string message =
        message_of([&] { detail::family_of(c.config, hugging_face_families); });
    CHECK(is_sentence(message));
    CHECK(has(message, "ModelConfig." + std::string(c.field) + " "));
  }
  CHECK(&detail::family_of(gpt2, hugging_face_families) == &gpt2_family);
  CHECK(&detail::family_of(biased, hugging_face_families) == &llama_family);
  CHECK(&detail::family_of(mixtral, hugging_face_families) == &mixtral_family);
}

TEST_CASE("Hugging Face: a parameter that has no name in that family is refused", "[error]") {
  constexpr ModelConfig normed = changed(llama, [](ModelConfig& c) { c.qk_norm = true; });
  using Params = Transformer<normed, Reference<float>>::Params;
  const std::string message = message_of([] {
    detail::hugging_face_pieces(llama_family.names, leaf_names<Params>(), leaves<Params>());
  });
  CHECK(is_sentence(message));
  CHECK(has(message, "'blocks.0.attn.q_norm.weight'"));
}

TEST_CASE("Hugging Face: the folder appears whole, with the tokenizer, or stays as it was",
          "[io]") {
  const ScratchFolder folder;
  Made<llama> made;
  make_folders(folder / "tokenizer");
  write_file(folder / "tokenizer/tokenizer.json", "{}");
  write_file(folder / "tokenizer/merges.txt", "a b");
  write_file(folder / "tokenizer/private.txt", "not copied");
  export_hugging_face(made.model, folder / "a", {.tokenizer_folder = folder / "tokenizer"});
  CHECK(detail::names_in(folder / "a") ==
        std::vector<std::string>{"config.json", "generation_config.json", "merges.txt",
                                 "model.safetensors", "moe_export.json", "tokenizer.json"});
  CHECK(read_file(folder / "a/merges.txt") == "a b");
  const auto fails = [&](const HuggingFaceExport& how, const std::string& why) {
    const std::string message =
        message_of([&] { export_hugging_face(made.model, folder / "a", how); });
    CHECK(is_sentence(message));
    CHECK(has(message, why));
    CHECK(detail::names_in(folder / "a").size() == 6);
    CHECK(detail::names_in(folder.path()) == std::vector<std::string>{"a", "tokenizer"});
  };
  fails({.tokenizer_folder = folder / "none"}, "neither tokenizer.json nor vocab.json");
  fails({.write_tokenizer = [](const std::string&) { throw Error("no; stop"); }}, "no; stop");
  export_hugging_face(made.model, folder / "a", {.write_tokenizer = [](const std::string& to) {
                        write_file(to + "/vocab.json", "{}");
                      }});
  CHECK(read_file(folder / "a/vocab.json") == "{}");
  CHECK(!detail::exists(folder / "a/merges.txt"));
  const std::string message =
      message_of([&] { export_hugging_face(made.model, folder / "tokenizer"); });
  CHECK(is_sentence(message));
  CHECK(has(message, "no 'moe_export.json'"));
  CHECK(detail::exists(folder / "tokenizer/private.txt"));
}

TEST_CASE("Hugging Face: parameters are wider than the numbers of a bfloat16 backend", "[io]") {
  const ScratchFolder folder;
  Made<mixtral> made;
  Made<mixtral, Reference<float, bfloat16>> rounded(2);
  export_hugging_face(made.model, folder / "a");
  import_hugging_face(rounded.model, folder / "a");
  CHECK(rounded.numbers() == made.numbers());
}

TEST_CASE("Hugging Face: no damage of one byte and no cut of the JSON files is a crash", "[edge]") {
  const ScratchFolder folder;
  Made<llama> made;
  export_hugging_face(made.model, folder / "a", {.shard_bytes = 600});
  for (const std::string name : {"config.json", "model.safetensors.index.json"}) {
    const std::string path = folder / ("a/" + name), good = read_file(path);
    std::size_t sentences = 0;
    const auto attempt = [&](const std::string& bytes) {
      FILE* file = std::fopen(path.c_str(), "wb");
      std::fwrite(bytes.data(), 1, bytes.size(), file);
      std::fclose(file);
      const std::string message = message_of([&] {
        read_hugging_face_config(folder / "a");
        HuggingFaceTensors(folder / "a");
      });
      if (!message.empty() && message.rfind("moe: ", 0) != 0) FAIL(message);
      sentences += !message.empty();
    };
    for (std::size_t cut = 0; cut + 2 < good.size(); ++cut) attempt(good.substr(0, cut));
    CHECK(sentences == good.size() - 2);
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (const char c : {'\0', '"', '9', '}', '\xFF'}) {
        std::string bytes = good;
        bytes[i] = c;
        attempt(bytes);
      }
    }
    CHECK(sentences > 3 * good.size());
    attempt(good);
  }
}

TEST_CASE("Hugging Face: a file with the head only fills a tied embedding", "[io]") {
  const ScratchFolder folder;
  const auto check = [&]<ModelConfig C>(const std::string& embedding, const std::string& prefix) {
    Made<C> made;
    export_hugging_face(made.model, folder / "a");
    Checkpoint c(folder / "a");
    c.rename(embedding, "lm_head.weight");
    c.write(folder / "b");
    CHECK(import_message<C>(folder / "b", made.numbers()) == "");
    const auto names = c.tensors;
    for (const auto& [name, tensor] : names)
      if (name.starts_with(prefix)) c.rename(name, name.substr(prefix.size()));
    c.write(folder / "b");
    CHECK(import_message<C>(folder / "b", made.numbers()) == "");
    c.tensors[embedding.substr(prefix.size())] = c.tensors.at("lm_head.weight");
    c.write(folder / "b");
    CHECK(import_message<C>(folder / "b", made.numbers()) == "");
    c.tensors["lm_head.weight"].values[3] += 1;
    c.write(folder / "b");
    const std::string message = import_message<C>(folder / "b", made.numbers());
    CHECK(is_sentence(message));
    CHECK(has(message, "'lm_head.weight' is unexpected, as config.json ties"));
  };
  check.operator()<gpt2>("transformer.wte.weight", "transformer.");
  check.operator()<llama>("model.embed_tokens.weight", "model.");
}

TEST_CASE("Hugging Face: config.json as Python and editors write it", "[io]") {
  const ScratchFolder folder;
  write_file(folder / "config.json",
             "\xEF\xBB\xBF{\"model_type\":\"llama\",\"vocab_size\":1e+05,\"hidden_size\":32.0,"
             "\"intermediate_size\":80,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
             "\"max_position_embeddings\":64,\"a\":[NaN,-Infinity],\"max_length\":Infinity}");
  const HuggingFaceConfig c = read_hugging_face_config(folder.path());
  CHECK(c.model.vocab == 100000);
  CHECK(c.model.dim == 32);
  write_file(folder / "config.json", R"({"model_type":"llama","vocab_size":NaN})");
  CHECK(has(message_of([&] { read_hugging_face_config(folder.path()); }), "vocab_size is "));
}

TEST_CASE("Hugging Face: all files that an index names and that are missing are named", "[error]") {
  const ScratchFolder folder;
  write_file(folder / "model.safetensors.index.json",
             R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const std::string message = message_of([&] { HuggingFaceTensors(folder.path()); });
  CHECK(is_sentence(message));
  CHECK(has(message, "'one.safetensors', 'two.safetensors'"));
}

namespace {

/// SmolLM2's config.json in the sizes of `llama`, as transformers 4 wrote it, and its other files.
void write_smollm2(const std::string& folder, const std::string& more = "") {
  write_file(folder + "/config.json", R"({
  "architectures": [
    "LlamaForCausalLM"
  ],
  "attention_bias": false,
  "attention_dropout": 0.0,
  "bos_token_id": 1,
  "eos_token_id": [
    2,
    5
  ],
  "hidden_act": "silu",
  "hidden_size": 8,
  "initializer_range": 0.041666666666666664,
  "intermediate_size": 12,
  "is_llama_config": true,
  "max_position_embeddings": 6,
  "model_type": "llama",
  "num_attention_heads": 4,
  "num_hidden_layers": 2,
  "num_key_value_heads": 2,
  "pad_token_id": 2,
  "pretraining_tp": 1,
  "rms_norm_eps": 1e-05,
  "rope_interleaved": false,
  "rope_scaling": null,
  "rope_theta": 100000,
  "tie_word_embeddings": true,
  "torch_dtype": "bfloat16",
  "transformers.js_config": {
    "kv_cache_dtype": {
      "q4f16": "float16"
    }
  },
  "transformers_version": "4.42.3",
  "use_cache": true,)" + more + R"(
  "vocab_size": 11
}
)");
  write_file(folder + "/generation_config.json",
             R"({"_from_model_config": true, "bos_token_id": 1, "eos_token_id": [2, 5],
  "max_length": 1000000000000000019884624838656, "temperature": 0.2, "top_p": 0.9,
  "transformers_version": "4.42.3"})");
  write_file(folder + "/tokenizer.json", "{\"a\":1}");
  write_file(folder + "/chat_template.jinja", "{% for m in messages %}x{% endfor %}");
  write_file(folder + "/special_tokens_map.json", "{}");
  write_file(folder + "/README.md", "its card");
}

/// The names of the fields in which two JSON files differ.
std::string differing(const std::string& a, const std::string& b) {
  std::string all;
  for (const Difference& d : differences(parse_json(read_file(a)), parse_json(read_file(b))))
    all += (all.empty() ? "" : " ") + d.field;
  return all;
}

}  // namespace

TEST_CASE("Hugging Face: an export keeps what the folder it came from says", "[io]") {
  const ScratchFolder folder;
  make_folders(folder / "smol");
  Made<llama> made(1, {.rope_base = 100000});
  export_hugging_face(made.model, folder / "smol");
  write_smollm2(folder / "smol", R"("future_field": [1, {"x": 1e-7}], "bound": Infinity,)");
  Made<llama> model(2, hugging_face_options(folder / "smol"));
  import_hugging_face(model.model, folder / "smol");
  export_hugging_face(model.model, folder / "a", {.like = folder / "smol"});

  const std::string text = read_file(folder / "a/config.json");
  CHECK(has(text, "\"bound\": Infinity"));
  CHECK(has(text, "\"rope_theta\": 100000,"));
  CHECK(has(text, "\"future_field\": [1, {\"x\": 1e-7}]"));
  CHECK(!has(text, "transformers_version"));
  const std::string generation = read_file(folder / "a/generation_config.json");
  CHECK(has(generation, "1000000000000000019884624838656"));
  CHECK(has(generation, "\"temperature\": 0.2"));
  CHECK(!has(generation, "transformers_version"));
  CHECK(read_file(folder / "a/chat_template.jinja") ==
        read_file(folder / "smol/chat_template.jinja"));
  CHECK(read_file(folder / "a/tokenizer.json") == read_file(folder / "smol/tokenizer.json"));
  CHECK(!detail::exists(folder / "a/README.md"));

  // Only these fields differ, and an export of the export is the same.
  write_smollm2(folder / "smol");
  export_hugging_face(model.model, folder / "a", {.like = folder / "smol"});
  CHECK(differing(folder / "smol/config.json", folder / "a/config.json") ==
        "torch_dtype transformers_version dtype head_dim rope_parameters mlp_bias");
  CHECK(differing(folder / "smol/generation_config.json", folder / "a/generation_config.json") ==
        "transformers_version");
  Made<llama> again(3, hugging_face_options(folder / "a"));
  import_hugging_face(again.model, folder / "a");
  CHECK(again.numbers() == made.numbers());
  export_hugging_face(again.model, folder / "b", {.like = folder / "a"});
  for (const std::string& name : detail::names_in(folder / "a")) {
    INFO(name);
    CHECK(read_file(folder / ("a/" + name)) == read_file(folder / ("b/" + name)));
  }

  // Without `like`, tokenizer_folder takes its place. Values that are given replace those that are
  // kept.
  export_hugging_face(model.model, folder / "c",
                      {.tokenizer_folder = folder / "smol", .eos_token = 7, .pad_token = 3});
  const Json c = parse_json(read_file(folder / "c/config.json"));
  CHECK(c.at("bos_token_id") == Json(1));
  CHECK(c.at("eos_token_id") == Json(7));
  CHECK(c.at("pad_token_id") == Json(3));
  CHECK(parse_json(read_file(folder / "c/generation_config.json")).at("eos_token_id") == Json(7));
  CHECK(is_sentence(message_of(
      [&] { export_hugging_face(model.model, folder / "c", {.like = folder / "none"}); })));
}

TEST_CASE("Hugging Face: a dense folder's tokens and defaults go with the grown Mixtral", "[io]") {
  const ScratchFolder folder;
  make_folders(folder / "smol");
  write_smollm2(folder / "smol");
  constexpr ModelConfig grown =
      changed(llama, [](ModelConfig& c) { c.moe = {.experts = 3, .top_k = 2, .hidden = 12}; });
  Made<grown> made(1, {.rope_base = 100000});
  export_hugging_face(made.model, folder / "a", {.like = folder / "smol"});
  const Json c = parse_json(read_file(folder / "a/config.json"));
  CHECK(c.at("model_type") == Json("mixtral"));
  CHECK(c.at("eos_token_id").dump() == "[2,5]");
  CHECK(c.at("pad_token_id") == Json(2));
  CHECK(c.at("initializer_range") == Json(0.041666666666666664));
  CHECK(c.at("num_local_experts") == Json(3));
  CHECK(c.at("rope_theta") == Json(100000));
  for (const char* key :
       {"attention_bias", "mlp_bias", "pretraining_tp", "is_llama_config", "rope_interleaved"})
    CHECK(c.find(key) == nullptr);
  CHECK(c.find("transformers.js_config") != nullptr);
  CHECK(has(read_file(folder / "a/generation_config.json"), "\"top_p\": 0.9"));
  CHECK(import_message<grown>(folder / "a", {}).find("rope_base 100000.0") != std::string::npos);

  // An export as another kind of model keeps only the tokens, and of these only those that it has.
  Made<gpt2> gpt;
  write_smollm2(folder / "smol", R"("sep_token_id": 11,)");
  export_hugging_face(gpt.model, folder / "g", {.like = folder / "smol"});
  const Json g = parse_json(read_file(folder / "g/config.json"));
  CHECK(g.at("pad_token_id") == Json(2));
  CHECK(g.find("sep_token_id") == nullptr);
  CHECK(g.find("rope_theta") == nullptr);
  CHECK(g.find("hidden_size") == nullptr);
}
