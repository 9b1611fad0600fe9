#pragma once
#include <moe/io/checksum.hpp>
#include <moe/io/dtype.hpp>
#include <moe/io/folder_transaction.hpp>
#include <moe/io/json.hpp>
#include <moe/train/config_json.hpp>
#include <string>
#include <vector>

// The part of a checkpoint that depends on no model: the manifest, its own checksum, and the check
// that a checkpoint is of the model that a program was compiled for.

namespace moe {

inline constexpr const char* library_version = "0.1.0";

namespace detail {

inline constexpr const char* manifest_file = "manifest.json";
inline constexpr const char* manifest_format = "moe checkpoint";
inline constexpr int manifest_version = 1;

[[noreturn]] inline void damaged(const std::string& folder, const std::string& why) {
  throw Error("moe: cannot load checkpoint '" + folder + "': " + why +
              "; the files were damaged or altered, use another checkpoint");
}

/// The text of a manifest; "sha256" is the hash of the text in which that field is empty.
inline std::string seal(Json& manifest) {
  put(manifest, "sha256", std::string());
  put(manifest, "sha256", sha256(manifest.dump(2)));
  return manifest.dump(2);
}

inline std::string listed(const std::vector<Difference>& found, std::string Difference::*value,
                          const char* before, const char* between) {
  std::string text;
  for (const Difference& d : found) {
    const std::string& shown = d.*value;
    text += (text.empty() ? "" : ", ") + (before + d.field) + between +
            (shown.empty() ? "none" : shown);
  }
  return text;
}

}  // namespace detail

/// The manifest of a checkpoint folder, brought back first if a save was cut off by a crash.
/// Errors: missing, altered in any byte, of another format.  Test: tests/train/checkpoint.cpp.
///
///     const moe::Json manifest = moe::read_manifest("runs/demo/best");
///     manifest.at("cursor").at("step").as_int("manifest.cursor.step");
inline Json read_manifest(const std::string& folder) {
  recover_folder(folder);
  const std::string path = folder + "/" + detail::manifest_file;
  if (!detail::exists(path)) {
    throw Error("moe: cannot load checkpoint '" + folder + "': there is no file '" + path +
                "'; check the path");
  }
  const std::string text = read_file(path);
  Json manifest = parse_json(text, path);
  if (!manifest.is_object() || detail::seal(manifest) != text)
    detail::damaged(folder,
                    std::string(detail::manifest_file) + " does not match its own checksum");
  const std::int64_t version = manifest.at("format_version", path).as_int("format_version");
  if (manifest.at("format", path).as_string("format") != detail::manifest_format ||
      version != detail::manifest_version) {
    throw Error("moe: cannot load checkpoint '" + folder + "': it has format version " +
                std::to_string(version) + " and this program reads version " +
                std::to_string(detail::manifest_version) + "; use the program that wrote it");
  }
  return manifest;
}

/// Refuses a checkpoint of another model: names every field that differs, with both values.
/// `model` is what describe_model gives for this program's model.
inline void require_same_model(const std::string& folder, const Json& manifest, const Json& model) {
  const auto found = differences(manifest.at("model", "the manifest"), model);
  if (found.empty()) return;
  throw Error("moe: checkpoint '" + folder + "' has " +
              detail::listed(found, &Difference::first, "", " ") +
              " where this program was compiled for " +
              detail::listed(found, &Difference::second, "", " ") + "; rebuild with " +
              detail::listed(found, &Difference::first, ".", " = ") + " or use another checkpoint");
}

/// All that decides which parameters a model has and what it computes from them.
template <class Model>
Json describe_model(const Model& model) {
  Json json = to_json(Model::config);
  detail::put(json, "norm_eps", model.options().norm_eps);
  detail::put(json, "rope_base", model.options().rope_base);
  detail::put(json, "scalar", std::string(name_of(dtype_of<typename Model::T>())));
  return json;
}

}  // namespace moe
