#pragma once
#include <functional>
#include <moe/checkpoint/hugging_face/config.hpp>
#include <moe/core/check_option.hpp>
#include <moe/io/dtype.hpp>
#include <optional>

namespace moe::inline MOE_ISA {

/// Options of export_hugging_face.
struct HuggingFaceExport {
  Dtype dtype = Dtype::F32;                   // of the tensors: F32, BF16, F16 or F64
  std::uint64_t shard_bytes = 5'000'000'000;  // of tensors in one file
  /// The Hugging Face folder that the model came from. What is still true of it is kept: the fields
  /// of config.json that are not about shapes, generation_config.json, the tokenizer with its chat
  /// template. What became false is rewritten (architecture, sizes, element type) or left out.
  /// License and model card are not copied, because they are about the old weights.
  std::string like = {};
  /// The tokenizer's folder. If only one of the two folders is given, it is used for both.
  std::string tokenizer_folder = {};
  std::function<void(const std::string& folder)> write_tokenizer = {};  // or written by this
  std::optional<int> bos_token = {}, eos_token = {}, pad_token = {};    // override the kept ones
};

namespace detail {

/// The first family that computes what the configuration does.
/// Errors: moe::Error if there is none, with the field that excludes each.
inline const HuggingFaceFamily& family_of(const ModelConfig& c, HuggingFaceFamilies families) {
  std::string reasons;
  for (const HuggingFaceFamily* family : families) {
    const std::string why = family->refusal(c);
    if (why.empty()) return *family;
    reasons += (reasons.empty() ? "" : ", ") + ("not as " + std::string(family->title)) +
               " because ModelConfig." + why;
  }
  throw Error("cannot export to Hugging Face: ", reasons, "; save it with moe::save instead");
}

inline std::string hugging_face_dtype(Dtype dtype) {
  if (dtype == Dtype::F32) return "float32";
  if (dtype == Dtype::BF16) return "bfloat16";
  if (dtype == Dtype::F16) return "float16";
  if (dtype == Dtype::F64) return "float64";
  throw Error("cannot export to Hugging Face with elements ", enum_name(dtype),
              ": weights are no such numbers; choose F32, BF16, F16 or F64");
}

/// `vocab`: the number of tokens of the model.
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

/// config.json, in the spellings of both transformers 4 and 5.
inline Json hugging_face_config(const HuggingFaceFamily& family, const ModelConfig& c,
                                const Options& o, const HuggingFaceExport& how) {
  Json json;
  json["architectures"] = Json::Array{family.architecture};
  json["model_type"] = family.model_type;
  json["vocab_size"] = c.vocab;
  json["tie_word_embeddings"] = c.tied;
  json["bos_token_id"] = token_or_null(how.bos_token);
  json["eos_token_id"] = token_or_null(how.eos_token);
  if (how.pad_token) json["pad_token_id"] = *how.pad_token;
  json["initializer_range"] = o.init_std;
  json["use_cache"] = true;
  json["torch_dtype"] = hugging_face_dtype(how.dtype);
  json["dtype"] = hugging_face_dtype(how.dtype);
  family.write(c, o, json);
  return json;
}

}  // namespace detail

}  // namespace moe
