#pragma once
#include <moe/checkpoint/hugging_face/fields.hpp>
#include <moe/checkpoint/hugging_face/tensors.hpp>
#include <moe/core/options.hpp>
#include <span>

namespace moe::inline MOE_ISA {

struct HuggingFaceFamily;

/// The content of a config.json: the structure as a ModelConfig with all defaults filled in, and
/// the numbers that belong to Options.
struct HuggingFaceConfig {
  ModelConfig model = {};
  double norm_eps = 0, rope_base = 0;         // rope_base 0: no rotary positions
  const HuggingFaceFamily* family = nullptr;  // set by read_hugging_face_config
};

/// The correspondence of a Hugging Face tensor and our leaf. In both names the first # stands for
/// the layer's number, and a second one in `theirs` for the expert's. Our matrix is number `part`
/// of `parts` equal matrices that are stacked in the tensor.
struct HuggingFaceName {
  std::string_view ours, theirs;  // without ".weight" and ".bias"
  bool transposed = false;
  std::size_t part = 0, parts = 1;
  bool stacked = false;  // one tensor for all experts; `theirs` is its full name
};

/// The names of all tensors except the head, which is called lm_head everywhere. The first is the
/// token embedding.
struct HuggingFaceNames {
  std::string_view prefix;  // the prefix of all names; absent in a file of the model's body alone
  std::span<const HuggingFaceName> model;
  std::span<const HuggingFaceName> experts = {};
};

/// Everything that import and export know about a Hugging Face architecture. To add one to the
/// library, write a file with such a value in checkpoint/families/ and name it in
/// checkpoint/families.hpp. Pass one of your own to read_hugging_face_config, import_hugging_face
/// and export_hugging_face.
/// Test: tests/checkpoint/own_family.cpp.
///
///     inline constexpr moe::HuggingFaceFamily mine{.title = "Mine",
///                                                  .architecture = "MineForCausalLM", ...};
///     moe::import_hugging_face(model, "folder", std::array{&mine});
struct HuggingFaceFamily {
  std::string_view title, architecture, model_type;  // "Llama", "LlamaForCausalLM", "llama"

  /// Converts config.json to ModelConfig. Throws for what the library does not compute.
  HuggingFaceConfig (*read)(const HuggingFaceFields&);
  /// Converts ModelConfig to the fields of config.json that only this family has.
  void (*write)(const ModelConfig&, const Options&, Json& config);
  /// The field of ModelConfig that this family cannot represent, and why: "bias is true". Empty if
  /// there is none.
  std::string (*refusal)(const ModelConfig&);

  HuggingFaceNames names;
  /// Tensors in old files that hold no parameters. # is the layer's number.
  std::span<const std::string_view> buffers = {};
  /// The experts' names in these files, for families that store experts in several ways. Export
  /// uses `names`.
  std::span<const HuggingFaceName> (*experts_in)(const HuggingFaceTensors&,
                                                 const HuggingFaceConfig&,
                                                 std::string_view prefix) = nullptr;

  /// Fields that `write` sets and `read` ignores. An export keeps their values from the folder that
  /// the model came from, unless the Options behind them were changed.
  std::span<const std::string_view> not_read = {};
  /// The family whose models can be upcycled to this one, and its fields that have no meaning here.
  const HuggingFaceFamily* dense = nullptr;
  std::span<const std::string_view> only_dense = {};
};

/// The families that import and export choose from.
using HuggingFaceFamilies = std::span<const HuggingFaceFamily* const>;

}  // namespace moe
