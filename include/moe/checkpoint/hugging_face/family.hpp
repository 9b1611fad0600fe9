#pragma once
#include <moe/checkpoint/hugging_face/fields.hpp>
#include <moe/checkpoint/hugging_face/tensors.hpp>
#include <moe/core/options.hpp>
#include <span>

namespace moe {

struct HuggingFaceFamily;

/// What a config.json says: the structure as a configuration whose zeros are filled in, and the
/// numbers that belong into Options.
struct HuggingFaceConfig {
  ModelConfig model = {};
  double norm_eps = 0, rope_base = 0;         // rope_base 0: no rotary positions
  const HuggingFaceFamily* family = nullptr;  // set by read_hugging_face_config
};

/// What a tensor of Hugging Face is here. In both names the first # stands for the number of the
/// layer; a second one in `theirs` for the number of the expert. Our matrix is number `part` of
/// `parts` equal ones that lie one over the other in the tensor.
struct HuggingFaceName {
  std::string_view ours, theirs;  // without ".weight" and ".bias"
  bool transposed = false;
  std::size_t part = 0, parts = 1;
  bool stacked = false;  // one tensor for all experts, called `theirs` without ".weight"
};

/// The names of all tensors but the head, which is called lm_head everywhere. The first name is the
/// token embedding's.
struct HuggingFaceNames {
  std::string_view prefix;  // of all of them; a file of the model's body alone has none
  std::span<const HuggingFaceName> model;
  std::span<const HuggingFaceName> experts = {};
};

/// An architecture of Hugging Face: all that import and export know of it. To add one, write a file
/// with a value of this type into checkpoint/families/ and name it in checkpoint/families.hpp; one
/// of your own you give to read_hugging_face_config, import_hugging_face and export_hugging_face.
/// Test: tests/checkpoint/own_family.cpp.
///
///     inline constexpr moe::HuggingFaceFamily mine{.title = "Mine",
///                                                  .architecture = "MineForCausalLM", ...};
///     moe::import_hugging_face(model, "folder", std::array{&mine});
struct HuggingFaceFamily {
  std::string_view title, architecture, model_type;  // "Llama", "LlamaForCausalLM", "llama"

  /// config.json to ModelConfig. What the library does not compute is refused.
  HuggingFaceConfig (*read)(const HuggingFaceFields&);
  /// ModelConfig to the fields of config.json that other families do not have.
  void (*write)(const ModelConfig&, const Options&, Json& config);
  /// The field of ModelConfig by which this family cannot be what the configuration says, and why:
  /// "bias is true". Empty when it is.
  std::string (*refusal)(const ModelConfig&);

  HuggingFaceNames names;
  /// Tensors of old files that hold no parameters; # is the number of the layer.
  std::span<const std::string_view> buffers = {};
  /// The experts' names in these files, for families whose experts are stored in several ways;
  /// export uses `names`.
  std::span<const HuggingFaceName> (*experts_in)(const HuggingFaceTensors&,
                                                 const HuggingFaceConfig&,
                                                 std::string_view prefix) = nullptr;

  /// Fields that `write` sets and `read` does not look at. An export keeps those of the folder that
  /// the model came from, unless Options that they are made of were changed.
  std::span<const std::string_view> not_read = {};
  /// The family whose models grow into models of this one, and its fields that have no meaning
  /// here.
  const HuggingFaceFamily* dense = nullptr;
  std::span<const std::string_view> only_dense = {};
};

/// The families among which import and export choose.
using HuggingFaceFamilies = std::span<const HuggingFaceFamily* const>;

}  // namespace moe
