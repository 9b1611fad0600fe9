#pragma once
#include <algorithm>
#include <cstring>
#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/checkpoint/hugging_face/names.hpp>
#include <moe/model/parameters.hpp>
#include <set>

namespace moe::inline MOE_ISA {

namespace detail {

/// True for tensors in old files that hold no parameters: causal masks, rotary frequencies.
inline bool is_buffer(const HuggingFaceFamily& family, std::string_view prefix, int layers,
                      std::string_view name) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return std::any_of(family.buffers.begin(), family.buffers.end(), [&](std::string_view pattern) {
    return is_of_a_layer(name, pattern, layers);
  });
}

/// Collects the reasons why a folder does not fit a model; prints the first few and their number.
class Complaints {
 public:
  void add(const std::string& one) {
    if (++count_ <= shown) text_ += (text_.empty() ? "" : ", ") + one;
  }
  void raise(const std::string& folder) const {
    if (count_ == 0) return;
    const std::string more = count_ > shown ? " (the first " + std::to_string(shown) + " of " +
                                                  std::to_string(count_) + " differences)"
                                            : "";
    throw Error("cannot load '", folder, "': its tensors are not those of this model: ", text_,
                more, "; use the checkpoint that its config.json belongs to");
  }

 private:
  static constexpr std::size_t shown = 6;
  std::string text_;
  std::size_t count_ = 0;
};

inline std::string shape_text(const std::vector<std::size_t>& shape) {
  return Json(shape).dump();
}

/// True if two tensors hold the same numbers.
inline bool same_numbers(const HuggingFaceTensors& files, const std::string& a,
                         const std::string& b) {
  if (files.at(a).shape != files.at(b).shape) return false;
  if (!is_convertible(files.at(a).dtype) || !is_convertible(files.at(b).dtype)) return false;
  std::vector<double> first(1 << 13), second(1 << 13);
  const std::size_t count = files.at(a).elements();
  for (std::size_t done = 0; done < count;) {
    const std::size_t n = std::min(count - done, first.size());
    files.read(a, done, first.data(), n);
    files.read(b, done, second.data(), n);
    if (std::memcmp(first.data(), second.data(), n * sizeof(double)) != 0) return false;
    done += n;
  }
  return true;
}

/// True if the names in a file have the family's prefix, as in files of whole models. Files of the
/// body alone have none.
inline bool has_prefix(const HuggingFaceTensors& files, const HuggingFaceNames& names) {
  const std::string embedding = std::string(names.model[0].theirs) + ".weight";
  if (files.contains(std::string(names.prefix) + embedding)) return true;
  if (files.contains(embedding)) return false;
  const auto all = files.names();
  return std::any_of(all.begin(), all.end(),
                     [&](const std::string& name) { return name.starts_with(names.prefix); });
}

/// If the weights are tied and a file has only the head, reads the embedding from it.
inline void take_embedding_from_head(const HuggingFaceTensors& files,
                                     std::vector<HuggingFacePiece>& pieces) {
  HuggingFacePiece& embedding = pieces.at(0);
  if (!files.contains(embedding.tensor) && files.contains("lm_head.weight"))
    embedding.tensor = "lm_head.weight";
}

/// Throws an error with every difference between the tensors of a folder and the pieces of a model.
inline void require_same_tensors(const HuggingFaceTensors& files, const HuggingFaceConfig& config,
                                 const HuggingFaceNames& names,
                                 const std::vector<HuggingFacePiece>& pieces) {
  Complaints complaints;
  std::set<std::string> known;
  for (const HuggingFacePiece& piece : pieces) {
    if (!known.insert(piece.tensor).second) continue;
    if (!files.contains(piece.tensor)) {
      complaints.add("'" + piece.tensor + "' is missing");
      continue;
    }
    const Safetensors::Tensor& tensor = files.at(piece.tensor);
    if (tensor.shape != piece.shape)
      complaints.add("'" + piece.tensor + "' has shape " + shape_text(tensor.shape) + " where " +
                     shape_text(piece.shape) + " is expected");
    if (tensor.dtype != Dtype::F32 && tensor.dtype != Dtype::F16 && tensor.dtype != Dtype::BF16 &&
        tensor.dtype != Dtype::F64)
      complaints.add("'" + piece.tensor + "' has elements " + std::string(enum_name(tensor.dtype)) +
                     " where F32, F16, BF16 or F64 are expected");
  }
  for (const std::string& name : files.names()) {
    if (known.contains(name) || is_buffer(*config.family, names.prefix, config.model.layers, name))
      continue;
    // Old files of models with a tied head contain it nevertheless.
    if (name == "lm_head.weight" && config.model.tied) {
      const std::string& embedding = pieces.at(0).tensor;
      if (files.contains(embedding) && same_numbers(files, name, embedding)) continue;
      complaints.add(in_quotes(name) + " is unexpected, as config.json ties the head to " +
                     in_quotes(embedding) + " and its numbers are others");
      continue;
    }
    complaints.add(in_quotes(name) + " is unexpected");
  }
  complaints.raise(files.folder());
}

/// Reads one matrix (rows x cols in our layout) from the files.
template <class T>
void read_piece(const HuggingFaceTensors& files, const HuggingFacePiece& piece, std::size_t rows,
                std::size_t cols, std::vector<T>& line, std::vector<T>& to) {
  to.resize(rows * cols);
  if (piece.col_stride == 1) return files.read(piece.tensor, piece.first, to.data(), rows * cols);
  line.resize(rows);
  for (std::size_t j = 0; j < cols; ++j) {
    files.read(piece.tensor, piece.first + j * piece.col_stride, line.data(), rows);
    for (std::size_t i = 0; i < rows; ++i) to[i * cols + j] = line[i];
  }
}

}  // namespace detail

/// Fills the parameters of a model from a Hugging Face folder: GPT-2, Llama (SmolLM, TinyLlama) or
/// Mixtral in the layout of transformers 4 or 5, one file or several, F32, F16, BF16 or F64.
/// Strict: config.json must match what the model was compiled and built for, every parameter is
/// assigned once, and no tensor may be left over. All of this is checked before the first parameter
/// changes. Needs memory for one matrix.
/// Errors: moe::Error with the folder and every difference.  Test:
/// tests/checkpoint/hugging_face.cpp.
///
///     moe::Transformer<smollm, moe::Cpu<float>> model{
///         backend, moe::hugging_face_options("smollm")};
///     moe::import_hugging_face(model, "smollm");
template <class Model>
void import_hugging_face(Model& model, const std::string& folder,
                         HuggingFaceFamilies families = hugging_face_families) {
  using T = typename Model::W;
  using Params = typename Model::Params;
  const auto [config, files] = read_settled(folder, [&](const std::string& place) {
    const HuggingFaceConfig found = read_hugging_face_config(place, families);
    detail::require_same_config(place, found, Model::config, model.options());
    return std::pair(found, HuggingFaceTensors(place));  // this opens all files
  });
  HuggingFaceNames names = config.family->names;
  if (!detail::has_prefix(files, names)) names.prefix = "";
  if (config.family->experts_in)
    names.experts = config.family->experts_in(files, config, names.prefix);
  auto pieces = detail::hugging_face_pieces(names, leaf_names<Params>(), leaves<Params>());
  if (config.model.tied) detail::take_embedding_from_head(files, pieces);
  detail::require_same_tensors(files, config, names, pieces);

  std::vector<T> line, matrix;
  for (const detail::HuggingFacePiece& piece : pieces) {
    const LeafInfo& leaf = leaves<Params>()[piece.leaf];
    detail::read_piece(files, piece, std::size_t(leaf.rows), std::size_t(leaf.cols), line, matrix);
    upload_numbers(model.backend(), model.params(), leaf, std::size_t(piece.matrix) * matrix.size(),
                   std::span<const T>(matrix));
  }
}

}  // namespace moe
