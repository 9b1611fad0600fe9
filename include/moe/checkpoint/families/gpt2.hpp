#pragma once
#include <algorithm>
#include <moe/checkpoint/hugging_face/family.hpp>

namespace moe::inline MOE_ISA {
namespace detail {

inline HuggingFaceConfig read_gpt2(const HuggingFaceFields& fields) {
  fields.require("scale_attn_weights", true, "and attention without its scale is not supported");
  fields.require("scale_attn_by_inverse_layer_idx", false, "and this scale is not supported");
  fields.require("add_cross_attention", false, "and cross attention is not supported");
  HuggingFaceConfig c;
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
  c.norm_eps = fields.positive("layer_norm_epsilon", 1e-5);
  return c;
}

inline void write_gpt2(const ModelConfig& c, const Options& o, Json& json) {
  json["n_embd"] = c.dim;
  json["n_layer"] = c.layers;
  json["n_head"] = c.heads;
  json["n_positions"] = c.context;
  json["n_ctx"] = c.context;
  json["n_inner"] = c.dense_hidden();
  json["activation_function"] = hugging_face_name(c.activation);
  json["layer_norm_epsilon"] = o.norm_eps;
  json["embd_pdrop"] = o.dropout.embedding;
  json["attn_pdrop"] = o.dropout.attention;
  json["resid_pdrop"] = o.dropout.attention_output;
}

inline std::string refusal_of_gpt2(const ModelConfig& c) {
  if (c.norm != Norm::layer) return "norm is not layer";
  if (c.moe.experts > 0) return "moe.experts is not 0";
  if (c.qk_norm) return "qk_norm is true";
  if (c.scale_embedding) return "scale_embedding is true";
  if (!c.bias) return "bias is false";
  if (c.position != Position::learned) return "position is not learned";
  if (is_gated(c.activation)) return "activation is gated";
  if (c.kv_heads_or_default() != c.heads) return "kv_heads is not heads";
  return "";
}

inline constexpr HuggingFaceName gpt2_names[] = {
    {"token_embedding", "wte"},
    {"position_embedding", "wpe"},
    {"final_norm", "ln_f"},
    {"blocks.#.attn_norm", "h.#.ln_1"},
    {"blocks.#.attn.q", "h.#.attn.c_attn", true, 0, 3},
    {"blocks.#.attn.k", "h.#.attn.c_attn", true, 1, 3},
    {"blocks.#.attn.v", "h.#.attn.c_attn", true, 2, 3},
    {"blocks.#.attn.o", "h.#.attn.c_proj", true},
    {"blocks.#.ffn_norm", "h.#.ln_2"},
    {"blocks.#.ffn.up_proj", "h.#.mlp.c_fc", true},
    {"blocks.#.ffn.down_proj", "h.#.mlp.c_proj", true},
};
inline constexpr std::string_view gpt2_buffers[] = {"h.#.attn.bias", "h.#.attn.masked_bias"};
inline constexpr std::string_view gpt2_not_read[] = {"embd_pdrop", "attn_pdrop", "resid_pdrop"};

}  // namespace detail

/// GPT-2: layer norms, biases, learned positions, matrices stored as [in, out].
/// Source: transformers, models/gpt2.  Test: tests/checkpoint/hugging_face.cpp, ./dev interop.
inline constexpr HuggingFaceFamily gpt2_family{
    .title = "GPT-2",
    .architecture = "GPT2LMHeadModel",
    .model_type = "gpt2",
    .read = detail::read_gpt2,
    .write = detail::write_gpt2,
    .refusal = detail::refusal_of_gpt2,
    .names = {.prefix = "transformer.", .model = detail::gpt2_names},
    .buffers = detail::gpt2_buffers,
    .not_read = detail::gpt2_not_read};

}  // namespace moe
