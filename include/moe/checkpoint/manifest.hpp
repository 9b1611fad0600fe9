#pragma once
#include <algorithm>
#include <moe/checkpoint/config_json.hpp>
#include <moe/core/version.hpp>
#include <moe/io/checksum.hpp>
#include <moe/io/dtype.hpp>
#include <moe/io/folder_reader.hpp>
#include <moe/io/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The part of a checkpoint that depends on no model type: the manifest with its own checksum, and
// the check that a checkpoint belongs to the model that a program was compiled for.

namespace moe::inline MOE_ISA {

namespace detail {

inline constexpr const char* manifest_file = "manifest.json";
inline constexpr const char* manifest_format = "moe checkpoint";
inline constexpr int manifest_version = 1;
inline constexpr std::size_t manifest_values = 1 << 16;  // more than any model has tensors

/// The name of a manifest's field in error messages.
inline std::string manifest_field(const std::string& folder, const std::string& name = "") {
  return folder + "/" + manifest_file + (name.empty() ? "" : ": " + name);
}

[[noreturn]] inline void damaged(const std::string& folder, const std::string& why) {
  throw Error("cannot load checkpoint '", folder, "': ", why,
              "; the files were damaged or altered, use another checkpoint");
}

inline std::string listed(const std::vector<Difference>& found, std::string Difference::*value,
                          const char* before, const char* between) {
  constexpr std::size_t max_shown = 32, longest = 60;
  std::string text;
  for (std::size_t i = 0; i < std::min(found.size(), max_shown); ++i) {
    const std::string &field = found[i].field, &shown = found[i].*value;
    text += (text.empty() ? "" : ", ") + (before + readable(field)) + between +
            (shown.empty()            ? "none"
             : shown.size() > longest ? "a long value"
                                      : shown);
  }
  return found.size() > max_shown ? text + " and more" : text;
}

/// Fields that older manifests have under another name, and their names today.
inline constexpr std::pair<std::string_view, std::string_view> renamed_fields[] = {
    {"renormalise", "renormalize"},
    {"balance_bias", "expert_bias"},
    {"uniform_routing", "round_robin_routing"},
    {"rates", "schedule_options"}};

/// `json` with the names of today, down to `depth` levels of objects.
inline Json with_present_names(const Json& json, int depth) {
  if (depth == 0 || !json.is_object()) return json;
  Json::Object present;
  for (const auto& [name, value] : json.members("manifest")) {
    std::string_view now = name;
    for (const auto& [before, after] : renamed_fields)
      if (name == before) now = after;
    present.emplace_back(std::string(now), with_present_names(value, depth - 1));
  }
  return present;
}

inline Json read_manifest(const FolderReader& reader) {
  const std::string& folder = reader.path();
  const std::string path = folder + "/" + manifest_file;
  if (!reader.has(manifest_file)) {
    if (reader.error() != ENOENT) file_failed("read checkpoint", folder, reader.error());
    throw Error("cannot load checkpoint '", folder, "': there is no file '", path,
                "'; check the path");
  }
  const std::string text = read_file(reader.file(manifest_file));
  refuse_foreign(text, path);
  if (!is_sealed(text))
    damaged(folder, std::string(manifest_file) + " does not match its own checksum");
  Json manifest = parse_json(text, path, manifest_values);
  const auto field = [&](const char* name) { return manifest_field(folder, name); };
  const std::int64_t version = manifest.at("format_version", path).as_int(field("format_version"));
  if (const std::string& format = manifest.at("format", path).as_string(field("format"));
      format != manifest_format)
    throw Error("cannot load checkpoint '", folder, "': its manifest is of a '", format,
                "', not of a '", manifest_format, "'; check the path");
  if (version != manifest_version) {
    throw Error("cannot load checkpoint '", folder, "': it has format version ", version,
                " and this program reads version ", manifest_version,
                "; use the program that wrote it");
  }
  const auto update = [](Json& parent, const char* name, int depth) {
    if (const Json* part = parent.find(name)) parent[name] = with_present_names(*part, depth);
  };
  update(manifest, "model", 2);
  update(manifest, "options", 1);
  // Only what a Trainer wrote: everything else in "run" is the user's.
  if (manifest.find("run") && manifest.find("cursor")) update(manifest["run"], "trainer", 1);
  return manifest;
}

}  // namespace detail

/// Reads the manifest of a checkpoint folder. While the folder is being replaced, it is the old or
/// the new one.
/// Errors: moe::Error if it is missing, altered in any byte, or of another format.
/// Test: tests/checkpoint/checkpoint.cpp.
///
///     const moe::Json manifest = moe::read_manifest("runs/demo/best");
///     manifest.at("cursor").at("step").as_int("manifest.cursor.step");
inline Json read_manifest(const std::string& folder) {
  return detail::read_manifest(FolderReader(folder, detail::manifest_file));
}

namespace detail {

inline const std::string& stored_scalar(const std::string& folder, const Json& manifest) {
  const std::string what = manifest_field(folder, "model");
  return manifest.at("model", manifest_field(folder))
      .at("scalar", what)
      .as_string(what + ".scalar");
}

/// A value in the form of C++ code: "rms" of field norm is moe::Norm::rms.
inline std::string in_code(const Difference& difference) {
  const std::string& value = difference.first;
  if (value.size() < 2 || value[0] != '"') return value;
  std::string type = difference.field.substr(difference.field.rfind('.') + 1);
  if (!type.empty() && type[0] >= 'a' && type[0] <= 'z') type[0] = char(type[0] - 'a' + 'A');
  return "moe::" + type + "::" + value.substr(1, value.size() - 2);
}

}  // namespace detail

/// Throws if a checkpoint belongs to another model. `model` is describe_model of this program's
/// model. The types of the numbers may differ: Cpu<float> and Cpu<bfloat16> both have float
/// parameters, a double holds every float, and an Inference backend rounds them.
/// Errors: moe::Error with every field that differs, both values, and whether it belongs to
/// ModelConfig or Options; also for double parameters if this program's are narrower.
inline void require_same_model(const std::string& folder, const Json& manifest, const Json& model) {
  auto found = differences(manifest.at("model", detail::manifest_field(folder)), model);
  std::erase_if(found, [](const Difference& d) { return d.field == "scalar"; });
  const std::string stored = detail::stored_scalar(folder, manifest);
  if (found.empty()) {
    if (stored != "F64" || model.at("scalar") == Json("F64")) return;
    throw Error("cannot load checkpoint '", folder,
                "': its parameters are double and this program's are narrower, which hold less of "
                "them; use a program with Cpu<double>, or export the model there as F32 with "
                "moe::export_hugging_face and import that");
  }
  std::vector<Difference> structure, options;
  for (const Difference& d : found) {
    const bool is_option = d.field == "norm_eps" || d.field == "rope_base";
    if (d.field == "block") continue;
    Difference advice = d;
    advice.first = detail::in_code(d);
    if (!d.first.empty() && !d.second.empty()) (is_option ? options : structure).push_back(advice);
  }
  std::string advice;
  if (!structure.empty())
    advice = "rebuild with " + detail::listed(structure, &Difference::first, ".", " = ");
  if (!options.empty())
    advice += (advice.empty() ? "" : ", ") + std::string("build the model with the Options ") +
              detail::listed(options, &Difference::first, ".", " = ");
  const bool only_options = structure.empty() && options.size() == found.size();
  throw Error("checkpoint '", folder, "' has ", detail::listed(found, &Difference::first, "", " "),
              (only_options ? " where this model has " : " where this program was compiled for "),
              detail::listed(found, &Difference::second, "", " "), "; ", advice,
              (advice.empty() ? "" : " or "), "use another checkpoint");
}

/// Throws if a run would be resumed in another number type: the result would not be that of a run
/// that was never stopped.
inline void require_same_numbers(const std::string& folder, const Json& manifest,
                                 const Json& model) {
  const std::string &stored = detail::stored_scalar(folder, manifest),
                    &ours = model.at("scalar").as_string("scalar");
  if (stored == ours) return;
  throw Error("cannot resume from '", folder, "': the run computes in ", stored,
              " and this program in ", ours,
              ", which would change it in the middle; use the backend that it was begun with, or "
              "begin a new run from its parameters with moe::load");
}

/// Everything that determines which parameters a model has and what it computes from them.
template <class Model>
Json describe_model(const Model& model) {
  Json json = to_json(Model::config);
  if (!Model::Network::block_name.empty())
    detail::put(json, "block", std::string(Model::Network::block_name));
  detail::put(json, "norm_eps", model.options().norm_eps);
  detail::put(json, "rope_base", model.options().rope_base);
  detail::put(json, "scalar", std::string(enum_name(dtype_of<typename Model::T>())));
  return json;
}

}  // namespace moe
