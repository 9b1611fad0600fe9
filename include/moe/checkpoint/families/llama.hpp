#pragma once
#include <moe/checkpoint/hugging_face/family.hpp>

namespace moe::inline MOE_ISA {
namespace detail {

/// Reads what Llama shares with the families derived from it. The two numbers are the defaults of
/// absent fields.
inline HuggingFaceConfig read_llama_body(const HuggingFaceFields& fields, double norm_eps,
                                         double rope_base) {
  HuggingFaceConfig c;
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
  m.kv_heads = fields.integer("num_key_value_heads", m.heads);
  const bool divides = m.dim % m.heads == 0 && m.heads % m.kv_heads == 0;
  if (!divides) fields.refuse("num_attention_heads", "and heads of this number are not supported");
  if (fields.integer("head_dim", m.head_dim()) != m.head_dim())
    fields.refuse("head_dim", "and only hidden_size / num_attention_heads is supported");
  if (const Json* types = fields.find("layer_types")) {
    if (!types->is_array()) fields.refuse("layer_types", "where a list is expected");
    for (const Json& type : types->items("layer_types"))
      if (!(type == Json("full_attention")))
        fields.refuse("layer_types", "and only full_attention is supported");
  }
  c.norm_eps = fields.positive("rms_norm_eps", norm_eps);
  c.rope_base = rope_base_of(fields, rope_base);
  return c;
}
inline HuggingFaceConfig read_llama(const HuggingFaceFields& fields) {
  const HuggingFaceConfig c = read_llama_body(fields, 1e-6, 1e4);
  if (fields.boolean("mlp_bias", false) != c.model.bias)
    fields.refuse("mlp_bias", "and biases are supported in attention and mlp together only");
  return c;
}

inline void write_llama_body(const ModelConfig& c, const Options& o, Json& json) {
  json["hidden_size"] = c.dim;
  json["intermediate_size"] = c.moe.experts > 0 ? c.expert_hidden() : c.dense_hidden();
  json["num_hidden_layers"] = c.layers;
  json["num_attention_heads"] = c.heads;
  json["num_key_value_heads"] = c.kv_heads_or_default();
  json["head_dim"] = c.head_dim();
  json["max_position_embeddings"] = c.context;
  json["hidden_act"] = hugging_face_name(c.activation);
  json["rms_norm_eps"] = o.norm_eps;
  json["attention_dropout"] = o.dropout.attention;
  json["rope_theta"] = o.rope_base;  // transformers 4
  json["rope_parameters"]["rope_type"] = "default";
  json["rope_parameters"]["rope_theta"] = o.rope_base;  // transformers 5
}
inline void write_llama(const ModelConfig& c, const Options& o, Json& json) {
  write_llama_body(c, o, json);
  json["attention_bias"] = c.bias;
  json["mlp_bias"] = c.bias;
}

inline std::string refusal_of_llama_body(const ModelConfig& c) {
  if (c.norm != Norm::rms) return "norm is not rms";
  if (c.qk_norm) return "qk_norm is true";
  if (c.scale_embedding) return "scale_embedding is true";
  if (c.position != Position::rope_half) return "position is not rope_half";
  if (!is_gated(c.activation)) return "activation is not gated";
  return "";
}
inline std::string refusal_of_llama(const ModelConfig& c) {
  return c.moe.experts > 0 ? "moe.experts is not 0" : refusal_of_llama_body(c);
}

inline constexpr HuggingFaceName llama_names[] = {
    {"token_embedding", "embed_tokens"},
    {"final_norm", "norm"},
    {"blocks.#.attn_norm", "layers.#.input_layernorm"},
    {"blocks.#.attn.q", "layers.#.self_attn.q_proj"},
    {"blocks.#.attn.k", "layers.#.self_attn.k_proj"},
    {"blocks.#.attn.v", "layers.#.self_attn.v_proj"},
    {"blocks.#.attn.o", "layers.#.self_attn.o_proj"},
    {"blocks.#.ffn_norm", "layers.#.post_attention_layernorm"},
    {"blocks.#.ffn.gate_proj", "layers.#.mlp.gate_proj"},
    {"blocks.#.ffn.up_proj", "layers.#.mlp.up_proj"},
    {"blocks.#.ffn.down_proj", "layers.#.mlp.down_proj"},
};
inline constexpr std::string_view llama_buffers[] = {"rotary_emb.inv_freq",
                                                     "layers.#.self_attn.rotary_emb.inv_freq"};
inline constexpr std::string_view llama_not_read[] = {"attention_dropout"};

}  // namespace detail

/// Llama, also SmolLM and TinyLlama: RMS norms, rotary positions, gated feed-forwards, grouped keys
/// and values.
/// Source: transformers, models/llama.  Test: tests/checkpoint/hugging_face.cpp, ./dev interop.
inline constexpr HuggingFaceFamily llama_family{
    .title = "Llama",
    .architecture = "LlamaForCausalLM",
    .model_type = "llama",
    .read = detail::read_llama,
    .write = detail::write_llama,
    .refusal = detail::refusal_of_llama,
    .names = {.prefix = "model.", .model = detail::llama_names},
    .buffers = detail::llama_buffers,
    .not_read = detail::llama_not_read};

}  // namespace moe
