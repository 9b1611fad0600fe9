#pragma once
#include <cmath>
#include <cstring>
#include <map>
#include <moe/checkpoint/hugging_face/kept.hpp>
#include <moe/checkpoint/hugging_face/names.hpp>
#include <moe/io/folder_transaction.hpp>
#include <moe/io/safetensors_writer.hpp>
#include <moe/model/parameters.hpp>

namespace moe::inline MOE_ISA {

namespace detail {

/// Copies the tokenizer's files. Throws if there are none and one is `required`.
inline void copy_tokenizer(const std::string& from, FolderTransaction& to, bool required) {
  bool any = false;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
                           "chat_template.jinja", "chat_template.json"}) {
    const std::string path = from + "/" + name;
    if (!exists(path)) continue;
    to.write(name, read_file(path));
    any = true;
  }
  if (!any && required) {
    throw Error("cannot copy a tokenizer from '", from,
                "': it holds neither tokenizer.json nor vocab.json; check the path");
  }
}

/// One tensor to be written: the pieces that it consists of.
struct ExportedTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::vector<const HuggingFacePiece*> pieces;
  std::size_t elements() const {
    std::size_t n = 1;
    for (const std::size_t extent : shape) n *= extent;
    return n;
  }
};

/// The tensors in the order of our parameters.
inline std::vector<ExportedTensor> exported_tensors(const std::vector<HuggingFacePiece>& pieces) {
  std::vector<ExportedTensor> tensors;
  std::map<std::string, std::size_t> known;
  for (const HuggingFacePiece& piece : pieces) {
    const auto [at, is_new] = known.emplace(piece.tensor, tensors.size());
    if (is_new) tensors.push_back({piece.tensor, piece.shape, {}});
    tensors[at->second].pieces.push_back(&piece);
  }
  return tensors;
}

/// The number of the file for each tensor; files are filled in order up to the limit.
inline std::vector<std::size_t> shards_of(const std::vector<ExportedTensor>& tensors,
                                          std::size_t element_bytes, std::uint64_t limit) {
  std::vector<std::size_t> shard;
  std::uint64_t used = 0;
  std::size_t now = 0;
  for (const ExportedTensor& tensor : tensors) {
    const std::uint64_t bytes = tensor.elements() * element_bytes;
    if (used > 0 && (bytes > limit || used > limit - bytes)) ++now, used = 0;
    used += bytes;
    shard.push_back(now);
  }
  return shard;
}

inline std::string shard_name(std::size_t number, std::size_t count) {
  if (count == 1) return "model.safetensors";
  return format("model-%05zu-of-%05zu.safetensors", number + 1, count);
}

/// Stores a number as an element of a file. Returns false if it is finite and the element is not.
template <class T>
bool store_as(Dtype dtype, T value, char* to) {
  const auto store = [&](auto element, double stored) {
    std::memcpy(to, &element, sizeof element);
    return std::isfinite(stored) || !std::isfinite(value);
  };
  const double wide = double(value);
  const float narrow = float(value);
  if (dtype == Dtype::F64) return store(wide, wide);
  if (dtype == Dtype::F32) return store(narrow, double(narrow));
  if (dtype == Dtype::BF16) return store(bfloat16(narrow), double(float(bfloat16(narrow))));
  return store(f16_of_float(narrow), double(float_of_f16(f16_of_float(narrow))));
}

template <class Model>
std::string tensor_bytes(Model& model, const ExportedTensor& tensor, Dtype dtype) {
  using T = typename Model::W;
  const std::size_t width = std::size_t(bits_of(dtype)) / 8;
  std::string bytes(tensor.elements() * width, '\0');
  std::vector<T> matrix;
  for (const HuggingFacePiece* piece : tensor.pieces) {
    const LeafInfo& leaf = leaves<typename Model::Params>()[piece->leaf];
    const auto rows = std::size_t(leaf.rows), cols = std::size_t(leaf.cols);
    matrix.resize(rows * cols);
    download_numbers(model.backend(), model.params(), leaf,
                     std::size_t(piece->matrix) * matrix.size(), std::span<T>(matrix));
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < cols; ++j) {
        const std::size_t at = piece->first + i * piece->row_stride + j * piece->col_stride;
        const T value = matrix[i * cols + j];
        if (store_as(dtype, value, &bytes[at * width])) continue;
        throw Error("cannot export tensor '", tensor.name, "' as ", enum_name(dtype), ": it holds ",
                    double(value), ", which is out of its range; choose BF16 or F32");
      }
    }
  }
  return bytes;
}

/// The file in which an export lists what it wrote.
inline constexpr const char* export_list = "moe_export.json";

}  // namespace detail

/// Throws now the error that an export to `folder` would throw later; to be called before long
/// work.
/// Errors: moe::Error if something else is at `folder`, or for missing permissions.
/// Test: tests/checkpoint/hugging_face.cpp.
inline void require_export_place(const std::string& folder) {
  FolderTransaction(folder, detail::export_list);
}

/// Writes a model as a Hugging Face folder, in the layout of transformers 4 and 5, as the first
/// family that computes the same: dense models with LayerNorm as GPT2LMHeadModel, with RMSNorm as
/// LlamaForCausalLM, mixtures as MixtralForCausalLM (one tensor per matrix of an expert). The
/// folder appears whole or not at all; an existing one is replaced if this function wrote it. Needs
/// memory for one file.
/// Errors: moe::Error for a structure that no family has, with the field; for the disk; if a number
/// does not fit F16.
/// Test: tests/checkpoint/hugging_face.cpp, and against transformers by ./dev interop.
///
///     moe::import_hugging_face(model, "smollm2");
///     moe::export_hugging_face(model, "out", {.dtype = moe::Dtype::BF16, .like = "smollm2"});
template <class Model>
void export_hugging_face(Model& model, const std::string& folder, const HuggingFaceExport& how = {},
                         HuggingFaceFamilies families = hugging_face_families) {
  using Params = typename Model::Params;
  constexpr ModelConfig config = Model::config;
  detail::check_export(how, config.vocab);
  const HuggingFaceFamily& family = detail::family_of(config, families);
  const std::string like = detail::kept_folder(how);
  std::string about =
      detail::hugging_face_config(family, config, model.options(), how).dump(2) + "\n";
  Json plain_generation;
  plain_generation["bos_token_id"] = detail::token_or_null(how.bos_token);
  plain_generation["eos_token_id"] = detail::token_or_null(how.eos_token);
  if (how.pad_token) plain_generation["pad_token_id"] = *how.pad_token;
  std::string generation = plain_generation.dump(2) + "\n";
  if (!how.like.empty() || (!like.empty() && detail::exists(like + "/config.json"))) {
    const auto kept = detail::kept_config(like, family, families, config, model.options(), how);
    about = kept.dump();
    generation = detail::kept_generation(like, kept, config.vocab, how).dump();
  }
  const auto pieces =
      detail::hugging_face_pieces(family.names, leaf_names<Params>(), leaves<Params>());
  const auto tensors = detail::exported_tensors(pieces);
  const std::size_t width = std::size_t(bits_of(how.dtype)) / 8;
  const auto shard = detail::shards_of(tensors, width, how.shard_bytes);
  const std::size_t files = shard.back() + 1;

  FolderTransaction save(folder, detail::export_list);
  const bool has_tokenizer = !how.tokenizer_folder.empty();
  if (has_tokenizer || (!like.empty() && !how.write_tokenizer))
    detail::copy_tokenizer(has_tokenizer ? how.tokenizer_folder : like, save, has_tokenizer);
  if (how.write_tokenizer) how.write_tokenizer(detail::parent_folder(save.path("config.json")));
  save.write("config.json", about);
  save.write("generation_config.json", generation);
  Json::Object map;
  std::uint64_t total = 0;
  for (std::size_t i = 0, file = 0; file < files; ++file) {
    std::vector<std::string> bytes;
    std::vector<TensorView> views;
    const std::size_t first = i;
    for (; i < tensors.size() && shard[i] == file; ++i) {
      bytes.push_back(detail::tensor_bytes(model, tensors[i], how.dtype));
      total += bytes.back().size();
      map.emplace_back(tensors[i].name, detail::shard_name(file, files));
    }
    for (std::size_t j = 0; j < bytes.size(); ++j)
      views.push_back(
          {tensors[first + j].name, how.dtype, tensors[first + j].shape, bytes[j].data()});
    save_safetensors(save.path(detail::shard_name(file, files)), views);
  }
  if (files > 1) {
    Json index;
    index["metadata"]["total_size"] = total;
    index["weight_map"] = std::move(map);
    save.write("model.safetensors.index.json", index.dump(2) + "\n");
  }
  save.write_list("moe export");
  save.commit();
}

}  // namespace moe
