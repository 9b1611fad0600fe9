#pragma once
#include <moe/checkpoint/families.hpp>
#include <moe/checkpoint/manifest.hpp>
#include <moe/io/folder_reader.hpp>

namespace moe::inline MOE_ISA {
namespace detail {

/// The configuration with its defaults filled in, and fields without effect set to a fixed value.
inline ModelConfig filled_in(ModelConfig c) {
  c.kv_heads = c.kv_heads_or_default();
  const int dense = c.dense_hidden(), expert = c.expert_hidden();
  const bool all = c.moe_layers() == c.layers;
  if (c.moe.experts == 0) c.moe = {};
  if (c.moe.experts > 0) c.moe.hidden = expert;
  if (c.moe.experts > 0 && all) c.moe.every = 1, c.moe.offset = 0, c.moe.last_half = false;
  c.hidden = c.moe.experts > 0 && all ? expert : dense;
  return c;
}

/// Throws if a file is of another model, with every field that differs and both values.
inline void require_same_config(const std::string& folder, const HuggingFaceConfig& file,
                                const ModelConfig& compiled, const Options& options) {
  Json first = to_json(file.model), second = to_json(filled_in(compiled));
  put(first, "norm_eps", file.norm_eps), put(second, "norm_eps", options.norm_eps);
  if (file.rope_base > 0)
    put(first, "rope_base", file.rope_base), put(second, "rope_base", options.rope_base);
  const auto found = differences(first, second);
  if (found.empty()) return;
  throw Error("cannot load '", folder, "': its config.json says ",
              listed(found, &Difference::first, "", " "), " where this model has ",
              listed(found, &Difference::second, "", " "),
              "; take the structure from moe_add_model and the options from "
              "hugging_face_options, or load another checkpoint");
}

}  // namespace detail

/// Reads a config.json of a model of one of the families, in the spelling of transformers 4 or 5.
/// What this library does not compute is refused, never passed over.
/// Errors: moe::Error naming the field and its value.  Test: tests/checkpoint/hugging_face.cpp.
///
///     const moe::HuggingFaceConfig config = moe::read_hugging_face_json("smollm/config.json");
inline HuggingFaceConfig read_hugging_face_json(
    const std::string& path, HuggingFaceFamilies families = hugging_face_families) {
  const HuggingFaceFields fields(
      path, "use a checkpoint of " + detail::any_of(families, &HuggingFaceFamily::title));
  const std::string type = fields.text("model_type", "");
  if (fields.find("quantization_config"))
    fields.refuse("quantization_config", "and quantised weights are not supported");
  for (const HuggingFaceFamily* family : families) {
    if (family->model_type != type) continue;
    HuggingFaceConfig config = family->read(fields);
    config.family = family;
    return config;
  }
  fields.refuse("model_type", "where " + detail::any_of(families, &HuggingFaceFamily::model_type) +
                                  " is expected");
}

/// The same of FOLDER/config.json, also while another model is put into the folder's place.
inline HuggingFaceConfig read_hugging_face_config(
    const std::string& folder, HuggingFaceFamilies families = hugging_face_families) {
  return read_settled(folder, [&](const std::string& place) {
    return read_hugging_face_json(place + "/config.json", families);
  });
}

/// `options` with the numbers that config.json determines: norm_eps and rope_base.
///
///     moe::Transformer<smollm, moe::Cpu<float>> model{
///         backend, moe::hugging_face_options("smollm")};
inline Options hugging_face_options(const std::string& folder, Options options = {},
                                    HuggingFaceFamilies families = hugging_face_families) {
  const HuggingFaceConfig config = read_hugging_face_config(folder, families);
  options.norm_eps = config.norm_eps;
  if (config.rope_base > 0) options.rope_base = config.rope_base;
  return options;
}

}  // namespace moe
