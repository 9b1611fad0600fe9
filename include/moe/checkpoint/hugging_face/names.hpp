#pragma once
#include <array>
#include <charconv>
#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/tree/leaves.hpp>
#include <span>

namespace moe::detail {

/// How a file stores the experts of a Mixtral: a tensor for each matrix (transformers 4), or one
/// for all, gate over up, as [experts, out, in] (transformers 5) or [experts, in, out].
enum class ExpertLayout { separate, fused, fused_transposed };

/// Where a matrix of ours lies in a file: its element (i, j) is number first + i * row_stride +
/// j * col_stride of a tensor of this name and shape.
struct HuggingFacePiece {
  std::size_t leaf = 0;  // ours: the leaf, and the matrix in it
  int matrix = 0;
  std::string tensor = {};
  std::vector<std::size_t> shape = {};
  std::size_t first = 0, row_stride = 0, col_stride = 1;
};

/// One line of the dictionary. Our matrix is number `part` of `parts` equal ones which the tensor
/// holds one over the other. # stands for the number of the expert.
struct HuggingFaceName {
  std::string_view ours, theirs;
  bool transposed = false;
  std::size_t part = 0, parts = 1;
  bool stacked = false;  // one tensor for all experts, without ".weight"
};

/// What a family calls things: in the model, and in a layer.
struct HuggingFaceNames {
  std::string prefix;  // of all but the head, where there is one
  std::string layers;
  std::span<const HuggingFaceName> model, attention, feed_forward;
};

inline HuggingFaceNames names_of(HuggingFaceFamily family, ExpertLayout layout) {
  using Name = HuggingFaceName;
  static constexpr Name gpt2_model[] = {
      {"token_embedding", "wte"}, {"position_embedding", "wpe"}, {"final_norm", "ln_f"}};
  static constexpr Name gpt2_attention[] = {{"attn_norm", "ln_1"},
                                            {"attn.q", "attn.c_attn", true, 0, 3},
                                            {"attn.k", "attn.c_attn", true, 1, 3},
                                            {"attn.v", "attn.c_attn", true, 2, 3},
                                            {"attn.o", "attn.c_proj", true}};
  static constexpr Name gpt2_feed_forward[] = {{"ffn_norm", "ln_2"},
                                               {"ffn.up_proj", "mlp.c_fc", true},
                                               {"ffn.down_proj", "mlp.c_proj", true}};
  static constexpr Name llama_model[] = {{"token_embedding", "embed_tokens"},
                                         {"final_norm", "norm"}};
  static constexpr Name llama_attention[] = {{"attn_norm", "input_layernorm"},
                                             {"attn.q", "self_attn.q_proj"},
                                             {"attn.k", "self_attn.k_proj"},
                                             {"attn.v", "self_attn.v_proj"},
                                             {"attn.o", "self_attn.o_proj"}};
  static constexpr Name llama_feed_forward[] = {{"ffn_norm", "post_attention_layernorm"},
                                                {"ffn.gate_proj", "mlp.gate_proj"},
                                                {"ffn.up_proj", "mlp.up_proj"},
                                                {"ffn.down_proj", "mlp.down_proj"}};
  static constexpr Name separate[] = {{"ffn_norm", "post_attention_layernorm"},
                                      {"ffn.router", "block_sparse_moe.gate"},
                                      {"ffn.experts.gate_proj", "block_sparse_moe.experts.#.w1"},
                                      {"ffn.experts.up_proj", "block_sparse_moe.experts.#.w3"},
                                      {"ffn.experts.down_proj", "block_sparse_moe.experts.#.w2"}};
  static constexpr auto fused = [](bool transposed) {
    return std::array<Name, 5>{
        {{"ffn_norm", "post_attention_layernorm"},
         {"ffn.router", "mlp.gate"},
         {"ffn.experts.gate_proj", "mlp.experts.gate_up_proj", transposed, 0, 2, true},
         {"ffn.experts.up_proj", "mlp.experts.gate_up_proj", transposed, 1, 2, true},
         {"ffn.experts.down_proj", "mlp.experts.down_proj", transposed, 0, 1, true}}};
  };
  static constexpr auto fused_plain = fused(false), fused_transposed = fused(true);
  if (family == HuggingFaceFamily::gpt2)
    return {"transformer.", "h.", gpt2_model, gpt2_attention, gpt2_feed_forward};
  HuggingFaceNames names{"model.", "layers.", llama_model, llama_attention, llama_feed_forward};
  if (family == HuggingFaceFamily::llama) return names;
  if (layout == ExpertLayout::separate) names.feed_forward = separate;
  if (layout == ExpertLayout::fused) names.feed_forward = fused_plain;
  if (layout == ExpertLayout::fused_transposed) names.feed_forward = fused_transposed;
  return names;
}

/// Names and shapes of a piece that is matrix `m` of a leaf which `name` translates.
inline void place_piece(const HuggingFaceName& name, const LeafInfo& leaf, std::string stem,
                        const std::string& suffix, HuggingFacePiece& piece) {
  const auto rows = std::size_t(leaf.rows), cols = std::size_t(leaf.cols);
  const auto at = std::size_t(piece.matrix);
  if (const auto place = stem.find('#'); place != std::string::npos)
    stem.replace(place, 1, std::to_string(at));
  piece.tensor = name.stacked ? stem : stem + suffix;
  if (leaf.role == Role::gain || leaf.role == Role::bias) {
    piece.shape = {name.parts * cols};
    piece.first = name.part * cols;
    return;
  }
  const std::size_t all_rows = name.parts * rows;
  piece.shape = {all_rows, cols};
  piece.first = name.part * rows * cols;
  piece.row_stride = cols;
  if (name.transposed) {
    piece.shape = {cols, all_rows};
    piece.first = name.part * rows;
    piece.row_stride = 1;
    piece.col_stride = all_rows;
  }
  if (name.stacked) {
    piece.shape.insert(piece.shape.begin(), std::size_t(leaf.count));
    piece.first += at * all_rows * cols;
  }
}

/// Every matrix of the parameters, in our order, with its place in the files of a family.
/// Errors: a parameter that the family has no name for.
inline std::vector<HuggingFacePiece> hugging_face_pieces(const HuggingFaceNames& names,
                                                         const std::vector<std::string>& ours,
                                                         const std::vector<LeafInfo>& leaves) {
  std::vector<HuggingFacePiece> pieces;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i].size == 0) continue;
    const std::size_t dot = ours[i].rfind('.');
    std::string stem = ours[i].substr(0, dot), before = names.prefix;
    const std::string suffix = ours[i].substr(dot);
    std::vector<std::span<const HuggingFaceName>> tables = {names.model};
    if (stem.starts_with("blocks.")) {
      const std::size_t end = stem.find('.', 7);
      before += names.layers + stem.substr(7, end - 6);
      stem = stem.substr(end + 1);
      tables = {names.attention, names.feed_forward};
    }
    static constexpr HuggingFaceName head{"head", "lm_head"};
    const HuggingFaceName* found = nullptr;
    if (stem == head.ours) found = &head, before = "";
    for (const auto& table : tables)
      for (const HuggingFaceName& name : table)
        if (name.ours == stem) found = &name;
    if (!found || (suffix != ".weight" && suffix != ".bias")) {
      throw Error("moe: cannot translate parameter '" + ours[i] +
                  "' to Hugging Face: this family has no such parameter; use "
                  "the blocks of the "
                  "library, without additions");
    }
    for (int m = 0; m < leaves[i].count; ++m) {
      pieces.push_back({i, m});
      place_piece(*found, leaves[i], before + std::string(found->theirs), suffix, pieces.back());
    }
  }
  return pieces;
}

}  // namespace moe::detail
