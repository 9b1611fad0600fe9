#pragma once
#include <moe/core/activation.hpp>

namespace moe {

enum class Norm { layer, rms };
/// How a model knows positions: not at all, by a learned embedding, or by rotations of queries and
/// keys, in pairs (i, i + head_dim / 2) as Llama's files have them or (2 i, 2 i + 1).
enum class Position { none, learned, rope_half, rope_interleaved };
/// The scores of a router: softmax of its logits, or the sigmoid of each.
enum class Scoring { softmax, sigmoid };

/// The mixture-of-experts part of a model. experts = 0: a dense model.
struct MoeConfig {
  int experts = 0;
  int top_k = 2;
  int hidden = 0;  // width of one expert; 0: ModelConfig.hidden
  int every = 1;   // layers offset, offset + every, ... have experts, the others are dense
  int offset = 0;
  bool last_half = false;  // instead of every, offset: the layers from layers / 2 on
  int shared_experts = 0;  // experts that process every token
  Scoring scoring = Scoring::softmax;
  bool renormalize = true;   // gates of the chosen experts sum to 1
  bool router_bias = false;  // even without ModelConfig.bias
  bool expert_bias = false;  // loss-free balancing: an expert bias, moved by ExpertBiasRule
};

/// The structure of a model as a value, passed as a template argument: Transformer<config, B>. It
/// holds only what changes types or loop bounds; rates and other real numbers are in Options.
///
///     constexpr moe::ModelConfig config{.vocab = 65, .dim = 384, .layers = 4, .heads = 6,
///                                       .context = 256, .moe = {.experts = 8, .hidden = 768}};
struct ModelConfig {
  int vocab = 0;
  int dim = 0;
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;  // 0: heads
  int hidden = 0;    // width of a dense feed-forward; 0: 4 * dim
  int context = 0;
  bool tied = true;  // the head is the token embedding
  bool bias = false;
  bool scale_embedding = false;  // times sqrt(dim)
  Norm norm = Norm::rms;
  Position position = Position::rope_half;
  Activation activation = Activation::swiglu;
  bool qk_norm = false;  // RMSNorm of each head's query and key
  MoeConfig moe = {};

  constexpr int kv_heads_or_default() const { return kv_heads ? kv_heads : heads; }
  constexpr int head_dim() const { return dim / heads; }
  constexpr int dense_hidden() const { return hidden ? hidden : 4 * dim; }
  constexpr int expert_hidden() const { return moe.hidden ? moe.hidden : dense_hidden(); }
  constexpr bool is_moe(int layer) const {
    if (moe.experts == 0) return false;
    if (moe.last_half) return layer >= layers / 2;
    return layer % moe.every == moe.offset % moe.every && layer >= moe.offset;
  }
  constexpr int moe_layers() const {
    int count = 0;
    for (int i = 0; i < layers; ++i) count += is_moe(i);
    return count;
  }
  /// The index of a layer among the layers of its kind (dense or with experts).
  constexpr int index_in_kind(int layer) const {
    int count = 0;
    for (int i = 0; i < layer; ++i) count += is_moe(i) == is_moe(layer);
    return count;
  }
};

/// Rejects an invalid configuration at compile time, with a message that names the field, before
/// anything else is instantiated.
/// Test: tests/compile_fail.
template <ModelConfig C>
consteval bool check() {
  static_assert(C.vocab >= 1, "moe: ModelConfig.vocab must be at least 1");
  static_assert(C.dim >= 1, "moe: ModelConfig.dim must be at least 1");
  static_assert(C.layers >= 1, "moe: ModelConfig.layers must be at least 1");
  static_assert(C.heads >= 1, "moe: ModelConfig.heads must be at least 1");
  static_assert(C.context >= 1, "moe: ModelConfig.context must be at least 1");
  static_assert(C.kv_heads >= 0, "moe: ModelConfig.kv_heads must be at least 1, or 0 for heads");
  static_assert(C.hidden >= 0, "moe: ModelConfig.hidden must be at least 1, or 0 for 4 * dim");
  if constexpr (C.heads >= 1) {
    static_assert(C.dim % C.heads == 0,
                  "moe: ModelConfig.dim must be a multiple of ModelConfig.heads");
    static_assert(C.heads % C.kv_heads_or_default() == 0,
                  "moe: ModelConfig.heads must be a multiple of ModelConfig.kv_heads");
    static_assert(
        C.position == Position::none || C.position == Position::learned || C.head_dim() % 2 == 0,
        "moe: ModelConfig.dim / ModelConfig.heads must be even for rotary positions");
  }
  static_assert(C.moe.experts >= 0, "moe: MoeConfig.experts must be at least 1, or 0 for dense");
  if constexpr (C.moe.experts > 0) {
    static_assert(C.moe.top_k >= 1, "moe: MoeConfig.top_k must be at least 1");
    static_assert(C.moe.top_k <= C.moe.experts,
                  "moe: MoeConfig.top_k must be at most MoeConfig.experts");
    static_assert(C.moe.hidden >= 0,
                  "moe: MoeConfig.hidden must be at least 1, or 0 for ModelConfig.hidden");
    static_assert(C.moe.every >= 1, "moe: MoeConfig.every must be at least 1");
    static_assert(C.moe.offset >= 0, "moe: MoeConfig.offset must be at least 0");
    static_assert(C.moe.shared_experts >= 0, "moe: MoeConfig.shared_experts must be at least 0");
    static_assert(C.moe.every < 1 || C.moe_layers() > 0,
                  "moe: MoeConfig.every and MoeConfig.offset must leave at least one layer with "
                  "experts");
  }
  return true;
}

}  // namespace moe
