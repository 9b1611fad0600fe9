#pragma once
#include <moe/checkpoint/families/llama.hpp>

namespace moe::inline MOE_ISA {
namespace detail {

inline HuggingFaceConfig read_mixtral(const HuggingFaceFields& fields) {
  fields.integer("num_key_value_heads");  // required
  HuggingFaceConfig c = read_llama_body(fields, 1e-5, 1e6);
  ModelConfig& m = c.model;
  if (m.bias) fields.refuse("attention_bias", "and Mixtral has none");
  m.moe = {.experts = fields.integer("num_local_experts"),
           .top_k = fields.integer("num_experts_per_tok"),
           .hidden = m.hidden};
  if (m.moe.top_k > m.moe.experts)
    fields.refuse("num_experts_per_tok", "and num_local_experts is smaller");
  if (fields.integer("sliding_window", m.context) < m.context)
    fields.refuse("sliding_window", "and attention to less than the context is not supported");
  return c;
}

inline void write_mixtral(const ModelConfig& c, const Options& o, Json& json) {
  write_llama_body(c, o, json);
  json["num_local_experts"] = c.moe.experts;
  json["num_experts_per_tok"] = c.moe.top_k;
  json["sliding_window"] = Json();
  json["output_router_logits"] = false;
  // The balance loss of perfectly even routing is top_k in transformers and 1 here.
  json["router_aux_loss_coef"] = o.balance_weight / c.moe.top_k;
  json["router_jitter_noise"] = 0.0;
}

inline std::string refusal_of_mixtral(const ModelConfig& c) {
  if (c.moe.experts == 0) return "moe.experts is 0";
  if (std::string why = refusal_of_llama_body(c); !why.empty()) return why;
  if (c.bias) return "bias is true";
  if (c.moe_layers() != c.layers) return "moe.every (or offset, last_half) leaves dense layers";
  if (c.moe.shared_experts > 0) return "moe.shared_experts is not 0";
  if (c.moe.scoring != Scoring::softmax) return "moe.scoring is not softmax";
  if (!c.moe.renormalize) return "moe.renormalize is false";
  if (c.moe.router_bias) return "moe.router_bias is true";
  if (c.moe.expert_bias) return "moe.expert_bias is true";
  return "";
}

/// One tensor for each matrix of an expert: transformers 4, and our exports.
inline constexpr HuggingFaceName separate_experts[] = {
    {"blocks.#.ffn.router", "layers.#.block_sparse_moe.gate"},
    {"blocks.#.ffn.experts.gate_proj", "layers.#.block_sparse_moe.experts.#.w1"},
    {"blocks.#.ffn.experts.up_proj", "layers.#.block_sparse_moe.experts.#.w3"},
    {"blocks.#.ffn.experts.down_proj", "layers.#.block_sparse_moe.experts.#.w2"},
};
/// One tensor for all experts of a layer, gate stacked on up: transformers 5, as [experts, out, in]
/// or transposed as [experts, in, out].
template <bool Transposed>
inline constexpr HuggingFaceName fused_experts[] = {
    {"blocks.#.ffn.router", "layers.#.mlp.gate"},
    {"blocks.#.ffn.experts.gate_proj", "layers.#.mlp.experts.gate_up_proj", Transposed, 0, 2, true},
    {"blocks.#.ffn.experts.up_proj", "layers.#.mlp.experts.gate_up_proj", Transposed, 1, 2, true},
    {"blocks.#.ffn.experts.down_proj", "layers.#.mlp.experts.down_proj", Transposed, 0, 1, true},
};

/// Which of the three layouts a folder has: recognized by the names, and the fused ones by their
/// shape.
inline std::span<const HuggingFaceName> mixtral_experts_in(const HuggingFaceTensors& files,
                                                           const HuggingFaceConfig& config,
                                                           std::string_view prefix) {
  const std::string name = std::string(prefix) + "layers.0.mlp.experts.gate_up_proj";
  if (!files.contains(name)) return separate_experts;
  const auto dim = std::size_t(config.model.dim), both = 2 * std::size_t(config.model.hidden);
  if (dim == both) {
    throw Error("cannot load '", files.folder(), "': tensor '", name,
                "' may hold its matrices either way round, as hidden_size is twice "
                "intermediate_size; save the model with one tensor for each expert "
                "(save_original_format=True)");
  }
  const auto experts = std::size_t(config.model.moe.experts);
  const bool transposed = files.at(name).shape == std::vector<std::size_t>{experts, dim, both};
  if (transposed) return fused_experts<true>;
  return fused_experts<false>;
}

inline constexpr std::string_view mixtral_not_read[] = {
    "attention_dropout", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise"};
inline constexpr std::string_view only_in_llama[] = {"attention_bias",   "mlp_bias",
                                                     "pretraining_tp",   "is_llama_config",
                                                     "rope_interleaved", "layer_types"};

}  // namespace detail

/// Mixtral: a Llama whose feed-forwards are mixtures of experts.
/// Source: transformers, models/mixtral.  Test: tests/checkpoint/hugging_face.cpp, ./dev interop.
inline constexpr HuggingFaceFamily mixtral_family{.title = "Mixtral",
                                                  .architecture = "MixtralForCausalLM",
                                                  .model_type = "mixtral",
                                                  .read = detail::read_mixtral,
                                                  .write = detail::write_mixtral,
                                                  .refusal = detail::refusal_of_mixtral,
                                                  .names = {.prefix = "model.",
                                                            .model = detail::llama_names,
                                                            .experts = detail::separate_experts},
                                                  .buffers = detail::llama_buffers,
                                                  .experts_in = detail::mixtral_experts_in,
                                                  .not_read = detail::mixtral_not_read,
                                                  .dense = &llama_family,
                                                  .only_dense = detail::only_in_llama};

}  // namespace moe
