#pragma once
#include <functional>
#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/core/check_option.hpp>
#include <moe/io/dtype.hpp>
#include <optional>

namespace moe {

/// How a model is written for Hugging Face.
struct HuggingFaceExport {
  Dtype dtype = Dtype::F32;                   // of the tensors: F32, BF16, F16 or F64
  std::uint64_t shard_bytes = 5'000'000'000;  // of tensors in one file
  /// The Hugging Face folder that the model came from. What it says and is still true is kept: the
  /// fields of config.json that are not about shapes, generation_config.json, the tokenizer with
  /// its chat template. What became false is rewritten (architecture, sizes, element type) or left
  /// out. Licence and model card are not copied: they speak of the weights that were there.
  std::string like = {};
  /// The tokenizer's folder; where only one of the two is given, it stands for the other.
  std::string tokenizer_folder = {};
  std::function<void(const std::string& folder)> write_tokenizer = {};  // or written by this
  std::optional<int> bos_token = {}, eos_token = {}, pad_token = {};    // instead of those kept
};

namespace detail {

/// The family that computes what the configuration does.
/// Errors: none does; the field is named.
inline HuggingFaceFamily family_of(const ModelConfig& c) {
  const auto refuse = [](const char* field, const std::string& why) {
    throw Error("moe: cannot export to Hugging Face: ModelConfig." + std::string(field) + " " +
                why + "; save it with moe::save instead");
  };
  const bool gpt2 = c.norm == Norm::layer, mixture = c.moe.experts > 0;
  if (c.qk_norm) refuse("qk_norm", "has no counterpart in GPT-2, Llama or Mixtral");
  if (c.scale_embedding) refuse("scale_embedding", "has no counterpart in GPT-2, Llama or Mixtral");
  if (gpt2) {
    if (mixture) refuse("norm", "is layer, and no architecture has that with experts");
    if (!c.bias) refuse("bias", "is false, and GPT-2 (norm is layer) has biases");
    if (c.position != Position::learned) refuse("position", "is not learned, as it is in GPT-2");
    if (is_gated(c.activation)) refuse("activation", "is gated, which it is not in GPT-2");
    if (c.key_heads() != c.heads) refuse("kv_heads", "is not heads, as it is in GPT-2");
    return HuggingFaceFamily::gpt2;
  }
  if (c.position != Position::rope_half)
    refuse("position", "is not rope_half, as it is in Llama and Mixtral (norm is rms)");
  if (!is_gated(c.activation))
    refuse("activation", "is not gated, as it is in Llama and Mixtral (norm is rms)");
  if (!mixture) return HuggingFaceFamily::llama;
  if (c.bias) refuse("bias", "is true, and Mixtral has no biases");
  if (c.moe_layers() != c.layers)
    refuse("moe.every", "(or offset, last_half) leaves dense layers, and Mixtral has none");
  if (c.moe.shared_experts > 0) refuse("moe.shared_experts", "is not 0, as it is in Mixtral");
  if (c.moe.scoring != Scoring::softmax) refuse("moe.scoring", "is not softmax, as in Mixtral");
  if (!c.moe.renormalise) refuse("moe.renormalise", "is false, and Mixtral renormalises");
  if (c.moe.router_bias) refuse("moe.router_bias", "is true, and Mixtral's router has no bias");
  if (c.moe.balance_bias) refuse("moe.balance_bias", "is true, and Mixtral has no such bias");
  return HuggingFaceFamily::mixtral;
}

inline std::string hugging_face_dtype(Dtype dtype) {
  if (dtype == Dtype::F32) return "float32";
  if (dtype == Dtype::BF16) return "bfloat16";
  if (dtype == Dtype::F16) return "float16";
  if (dtype == Dtype::F64) return "float64";
  throw Error("moe: cannot export to Hugging Face with elements " + std::string(name_of(dtype)) +
              ": weights are no such numbers; choose F32, BF16, F16 or F64");
}

inline std::string activation_name(Activation activation) {
  switch (activation) {
    case Activation::gelu:
    case Activation::geglu:
      return "gelu";
    case Activation::gelu_tanh:
      return "gelu_new";
    case Activation::relu_squared:
      return "relu2";
    default:
      return "silu";
  }
}

/// `vocab`: tokens that the model knows.
inline void check_export(const HuggingFaceExport& how, int vocab) {
  const OptionCheck check{"export to Hugging Face", "HuggingFaceExport"};
  check.at_least("shard_bytes", how.shard_bytes, std::uint64_t(1));
  const auto token = [&](const char* name, const std::optional<int>& id) {
    check(!id || (*id >= 0 && *id < vocab), name, id.value_or(0),
          "a token of the model, from 0 to " + std::to_string(vocab - 1));
  };
  token("bos_token", how.bos_token);
  token("eos_token", how.eos_token);
}

inline Json token_or_null(const std::optional<int>& token) {
  return token ? Json(*token) : Json();
}

/// config.json, with the spellings of transformers 4 and 5.
inline Json hugging_face_config(HuggingFaceFamily family, const ModelConfig& c, const Options& o,
                                const HuggingFaceExport& how) {
  const bool gpt2 = family == HuggingFaceFamily::gpt2;
  const bool mixtral = family == HuggingFaceFamily::mixtral;
  Json json;
  const auto set = [&](std::string_view key, Json value) { json[key] = std::move(value); };
  set("architectures", std::vector<std::string>{gpt2      ? "GPT2LMHeadModel"
                                                : mixtral ? "MixtralForCausalLM"
                                                          : "LlamaForCausalLM"});
  set("model_type", gpt2 ? "gpt2" : mixtral ? "mixtral" : "llama");
  set("vocab_size", c.vocab);
  set("tie_word_embeddings", c.tied);
  set("bos_token_id", token_or_null(how.bos_token));
  set("eos_token_id", token_or_null(how.eos_token));
  if (how.pad_token) set("pad_token_id", *how.pad_token);
  set("initializer_range", o.init_std);
  set("use_cache", true);
  set("torch_dtype", hugging_face_dtype(how.dtype));
  set("dtype", hugging_face_dtype(how.dtype));
  if (gpt2) {
    set("n_embd", c.dim);
    set("n_layer", c.layers);
    set("n_head", c.heads);
    set("n_positions", c.context);
    set("n_ctx", c.context);
    set("n_inner", c.dense_hidden());
    set("activation_function", activation_name(c.activation));
    set("layer_norm_epsilon", o.norm_eps);
    set("embd_pdrop", o.dropout.embedding);
    set("attn_pdrop", o.dropout.attention);
    set("resid_pdrop", o.dropout.attention_output);
    return json;
  }
  set("hidden_size", c.dim);
  set("intermediate_size", mixtral ? c.expert_hidden() : c.dense_hidden());
  set("num_hidden_layers", c.layers);
  set("num_attention_heads", c.heads);
  set("num_key_value_heads", c.key_heads());
  set("head_dim", c.head_dim());
  set("max_position_embeddings", c.context);
  set("hidden_act", activation_name(c.activation));
  set("rms_norm_eps", o.norm_eps);
  set("attention_dropout", o.dropout.attention);
  set("rope_theta", o.rope_base);
  json["rope_parameters"]["rope_type"] = "default";
  json["rope_parameters"]["rope_theta"] = o.rope_base;
  if (!mixtral) {
    set("attention_bias", c.bias);
    set("mlp_bias", c.bias);
    return json;
  }
  set("num_local_experts", c.moe.experts);
  set("num_experts_per_tok", c.moe.top_k);
  set("sliding_window", Json());
  set("output_router_logits", false);
  // There the loss is top_k at balance, here it is 1.
  set("router_aux_loss_coef", o.balance_weight / c.moe.top_k);
  set("router_jitter_noise", 0.0);
  return json;
}

}  // namespace detail

}  // namespace moe
