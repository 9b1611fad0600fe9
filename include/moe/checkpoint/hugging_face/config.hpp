#pragma once
#include <algorithm>
#include <moe/checkpoint/hugging_face/fields.hpp>
#include <moe/checkpoint/manifest.hpp>
#include <moe/core/config.hpp>
#include <moe/layers/layer.hpp>
#include <optional>

namespace moe {

/// The architectures of Hugging Face that are read and written.
enum class HuggingFaceFamily { gpt2, llama, mixtral };

/// What config.json says: the structure as a configuration of ours whose zeros are filled in, and
/// the numbers that belong into Options.
struct HuggingFaceConfig {
  HuggingFaceFamily family = HuggingFaceFamily::llama;
  ModelConfig model = {};
  double norm_eps = 0, rope_base = 0;  // rope_base 0: no rotary positions
};

namespace detail {

/// The base of the rotary angles, in the spelling of transformers 4 (rope_theta, rope_scaling) or 5
/// (rope_parameters).
inline double rope_base_of(const HuggingFaceFields& fields, double fallback) {
  std::optional<double> base;
  const auto take = [&](const std::string& key, double value) {
    if (!(value > 0)) fields.refuse(key, "where a rope_theta above 0 is expected");
    if (base.value_or(value) != value)
      fields.refuse(key, "and another field gives another rope_theta");
    base = value;
  };
  if (fields.find("rope_theta")) take("rope_theta", fields.number("rope_theta", 0));
  const auto whole = [&](const std::string& key, const Json& value) {
    if (!value.is_number() || value.as_double(key) != 1)
      fields.refuse(key, "and positions that turn a part of each head are not supported");
  };
  if (const Json* part = fields.find("partial_rotary_factor"))
    whole("partial_rotary_factor", *part);
  for (const std::string key : {"rope_parameters", "rope_scaling"}) {
    const Json* rope = fields.find(key);
    if (!rope) continue;
    if (!rope->is_object()) fields.refuse(key, "where an object is expected");
    for (const auto& [name, value] : rope->members(key)) {
      if (value.is_null()) continue;
      if (name == "rope_theta") {
        take(key, value.is_number() ? value.as_double(key) : 0);
      } else if (name == "partial_rotary_factor") {
        whole(key, value);
      } else if (value.is_object() ||
                 ((name == "rope_type" || name == "type") && !(value == Json("default")))) {
        fields.refuse(key, "and of rotary positions only those of type default are supported");
      }
    }
  }
  return base.value_or(fallback);
}

inline Activation activation_of(const HuggingFaceFields& fields, const std::string& key,
                                const std::string& fallback, bool gated) {
  const std::string name = fields.text(key, fallback);
  if (name == "gelu") return gated ? Activation::geglu : Activation::gelu;
  if (name == "silu" || name == "swish") return gated ? Activation::swiglu : Activation::silu;
  if (!gated && (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast"))
    return Activation::gelu_tanh;
  if (!gated && name == "relu2") return Activation::relu_squared;
  fields.refuse(key, "and this activation is not supported");
}

inline void read_gpt2(const HuggingFaceFields& fields, HuggingFaceConfig& c) {
  fields.require("scale_attn_weights", true, "and attention without its scale is not supported");
  fields.require("scale_attn_by_inverse_layer_idx", false, "and this scale is not supported");
  fields.require("add_cross_attention", false, "and cross attention is not supported");
  c.model = {.vocab = fields.integer("vocab_size"),
             .dim = fields.integer("n_embd"),
             .layers = fields.integer("n_layer"),
             .heads = fields.integer("n_head"),
             .context = fields.integer("n_positions"),
             .tied = fields.boolean("tie_word_embeddings", true),
             .bias = true,
             .norm = Norm::layer,
             .position = Position::learned,
             .activation = activation_of(fields, "activation_function", "gelu_new", false)};
  c.model.kv_heads = c.model.heads;
  const std::int64_t usual = std::int64_t(4) * c.model.dim;
  c.model.hidden = fields.integer("n_inner", int(std::min<std::int64_t>(usual, INT_MAX)));
  c.norm_eps = fields.number("layer_norm_epsilon", 1e-5);
}

/// Llama, or with experts Mixtral.
inline void read_llama(const HuggingFaceFields& fields, HuggingFaceConfig& c) {
  const bool mixtral = c.family == HuggingFaceFamily::mixtral;
  c.model = {.vocab = fields.integer("vocab_size"),
             .dim = fields.integer("hidden_size"),
             .layers = fields.integer("num_hidden_layers"),
             .heads = fields.integer("num_attention_heads"),
             .hidden = fields.integer("intermediate_size"),
             .context = fields.integer("max_position_embeddings"),
             .tied = fields.boolean("tie_word_embeddings", false),
             .bias = fields.boolean("attention_bias", false),
             .activation = activation_of(fields, "hidden_act", "silu", true)};
  ModelConfig& m = c.model;
  m.kv_heads = mixtral ? fields.integer("num_key_value_heads")
                       : fields.integer("num_key_value_heads", m.heads);
  const bool divides = m.dim % m.heads == 0 && m.heads % m.kv_heads == 0;
  if (!divides) fields.refuse("num_attention_heads", "and heads of this number are not supported");
  if (fields.integer("head_dim", m.dim / m.heads) != m.dim / m.heads)
    fields.refuse("head_dim", "and only hidden_size / num_attention_heads is supported");
  if (mixtral && m.bias) fields.refuse("attention_bias", "and Mixtral has none");
  if (!mixtral && fields.boolean("mlp_bias", false) != m.bias)
    fields.refuse("mlp_bias", "and biases are supported in attention and mlp together only");
  if (mixtral) {
    m.moe = {.experts = fields.integer("num_local_experts"),
             .top_k = fields.integer("num_experts_per_tok"),
             .hidden = m.hidden};
    if (m.moe.top_k > m.moe.experts)
      fields.refuse("num_experts_per_tok", "and num_local_experts is smaller");
    if (fields.integer("sliding_window", m.context) < m.context)
      fields.refuse("sliding_window", "and attention to less than the context is not supported");
  }
  if (const Json* types = fields.find("layer_types")) {
    if (!types->is_array()) fields.refuse("layer_types", "where a list is expected");
    for (const Json& type : types->items("layer_types"))
      if (!(type == Json("full_attention")))
        fields.refuse("layer_types", "and only full_attention is supported");
  }
  c.norm_eps = fields.number("rms_norm_eps", mixtral ? 1e-5 : 1e-6);
  c.rope_base = rope_base_of(fields, mixtral ? 1e6 : 1e4);
}

/// The configuration with its zeros filled in and what has no effect set to one value.
inline ModelConfig filled_in(ModelConfig c) {
  c.kv_heads = c.key_heads();
  const int dense = c.dense_hidden(), expert = c.expert_hidden();
  const bool all = c.moe_layers() == c.layers;
  if (c.moe.experts == 0) c.moe = {};
  if (c.moe.experts > 0) c.moe.hidden = expert;
  if (c.moe.experts > 0 && all) c.moe.every = 1, c.moe.offset = 0, c.moe.last_half = false;
  c.hidden = c.moe.experts > 0 && all ? expert : dense;
  return c;
}

/// Refuses a file of another model: names every field that differs, with both values.
inline void require_same_config(const std::string& folder, const HuggingFaceConfig& file,
                                const ModelConfig& compiled, const Options& options) {
  Json first = to_json(file.model), second = to_json(filled_in(compiled));
  put(first, "norm_eps", file.norm_eps), put(second, "norm_eps", options.norm_eps);
  if (file.rope_base > 0)
    put(first, "rope_base", file.rope_base), put(second, "rope_base", options.rope_base);
  const auto found = differences(first, second);
  if (found.empty()) return;
  throw Error("moe: cannot load '" + folder + "': its config.json says " +
              listed(found, &Difference::first, "", " ") + " where this model has " +
              listed(found, &Difference::second, "", " ") +
              "; take the structure from moe_add_model and the options from "
              "hugging_face_options, or load another checkpoint");
}

}  // namespace detail

namespace detail {

inline HuggingFaceConfig config_in(const std::string& folder) {
  const HuggingFaceFields fields(folder + "/config.json");
  HuggingFaceConfig config;
  const std::string type = fields.text("model_type", "");
  if (fields.find("quantization_config"))
    fields.refuse("quantization_config", "and quantised weights are not supported");
  if (type == "gpt2") {
    config.family = HuggingFaceFamily::gpt2;
    read_gpt2(fields, config);
  } else if (type == "llama" || type == "mixtral") {
    config.family = type == "llama" ? HuggingFaceFamily::llama : HuggingFaceFamily::mixtral;
    read_llama(fields, config);
  } else {
    fields.refuse("model_type", "where gpt2, llama or mixtral is expected");
  }
  if (!(config.norm_eps > 0))
    fields.refuse(type == "gpt2" ? "layer_norm_epsilon" : "rms_norm_eps",
                  "where a number above 0 is expected");
  return config;
}

}  // namespace detail

/// Reads FOLDER/config.json: model_type gpt2, llama or mixtral, in the spelling of transformers 4
/// or 5. What this library does not compute is refused, never passed over.
/// Errors: moe::Error naming the field and its value.  Test: tests/checkpoint/hugging_face.cpp.
///
///     const moe::HuggingFaceConfig config = moe::read_hugging_face_config("smollm");
inline HuggingFaceConfig read_hugging_face_config(const std::string& folder) {
  return read_settled(folder, detail::config_in);
}

/// `options` with the numbers that config.json decides: norm_eps and rope_base.
///
///     moe::Transformer<smollm, moe::Cpu<float>> model{
///         backend, moe::hugging_face_options("smollm", {.max_tokens = smollm.context})};
inline Options hugging_face_options(const std::string& folder, Options options = {}) {
  const HuggingFaceConfig config = read_hugging_face_config(folder);
  options.norm_eps = config.norm_eps;
  if (config.rope_base > 0) options.rope_base = config.rope_base;
  return options;
}

}  // namespace moe
