#pragma once
#include <charconv>
#include <moe/checkpoint/hugging_face/family.hpp>
#include <moe/tree/leaves.hpp>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// The place of one of our matrices in a file: element (i, j) is number first + i * row_stride + j
/// * col_stride of the tensor with this name and shape.
struct HuggingFacePiece {
  std::size_t leaf = 0;  // our leaf, and the matrix in it
  int matrix = 0;
  std::string tensor = {};
  std::vector<std::size_t> shape = {};
  std::size_t first = 0, row_stride = 0, col_stride = 1;
};

/// Replaces the first #, if there is one, by a number.
inline void fill_in(std::string& name, const std::string& number) {
  if (const auto mark = name.find('#'); mark != std::string::npos) name.replace(mark, 1, number);
}

/// True if `name` is `pattern` with a layer's number in place of its #.
inline bool is_of_a_layer(std::string_view name, std::string_view pattern, int layers) {
  const std::size_t mark = pattern.find('#');
  if (mark == std::string_view::npos) return name == pattern;
  if (!name.starts_with(pattern.substr(0, mark))) return false;
  int layer = -1;
  const char* const end = name.data() + name.size();
  const auto [after, error] = std::from_chars(name.data() + mark, end, layer);
  return error == std::errc() && layer >= 0 && layer < layers &&
         std::string_view(after, std::size_t(end - after)) == pattern.substr(mark + 1);
}

/// Sets the name and shape of a piece: matrix `m` of a leaf that `name` translates.
inline void place_piece(const HuggingFaceName& name, const LeafInfo& leaf, std::string stem,
                        const std::string& suffix, HuggingFacePiece& piece) {
  const auto rows = std::size_t(leaf.rows), cols = std::size_t(leaf.cols);
  const auto at = std::size_t(piece.matrix);
  fill_in(stem, std::to_string(at));
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
/// Errors: moe::Error for a parameter that the family has no name for.
inline std::vector<HuggingFacePiece> hugging_face_pieces(const HuggingFaceNames& names,
                                                         const std::vector<std::string>& ours,
                                                         const std::vector<LeafInfo>& leaves) {
  static constexpr HuggingFaceName head{"head", "lm_head"};
  std::vector<HuggingFacePiece> pieces;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i].size == 0) continue;
    const std::size_t dot = ours[i].rfind('.');
    std::string stem = ours[i].substr(0, dot), layer;
    const std::string suffix = ours[i].substr(dot);
    if (const std::string_view blocks = "blocks."; stem.starts_with(blocks)) {
      layer = stem.substr(blocks.size(), stem.find('.', blocks.size()) - blocks.size());
      stem.replace(blocks.size(), layer.size(), "#");
    }
    const HuggingFaceName* found = stem == head.ours ? &head : nullptr;
    for (const auto& table : {names.model, names.experts})
      for (const HuggingFaceName& name : table)
        if (name.ours == stem) found = &name;
    if (!found || (suffix != ".weight" && suffix != ".bias")) {
      throw Error("cannot translate parameter '", ours[i],
                  "' to Hugging Face: this family has no such parameter; use the blocks of the "
                  "library, without additions");
    }
    std::string theirs = std::string(found == &head ? "" : names.prefix) += found->theirs;
    if (!layer.empty()) fill_in(theirs, layer);
    for (int m = 0; m < leaves[i].count; ++m) {
      pieces.push_back({i, m});
      place_piece(*found, leaves[i], theirs, suffix, pieces.back());
    }
  }
  return pieces;
}

}  // namespace moe::detail
