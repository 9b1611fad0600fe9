#pragma once
#include <algorithm>
#include <moe/checkpoint/hugging_face/export_config.hpp>
#include <moe/io/utf8.hpp>

namespace moe::inline MOE_ISA::detail {

/// True if two JSON values mean the same: 100000 equals 100000.0, and members may come in any
/// order.
inline bool says_the_same(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return a.as_double("") == b.as_double("");
  if (!a.is_object() || !b.is_object()) return a == b;
  if (a.members("").size() != b.members("").size()) return false;
  for (const auto& [name, value] : a.members("")) {
    const Json* other = b.find(name);
    if (!other || !says_the_same(value, *other)) return false;
  }
  return true;
}

/// A JSON object written by another program, whose members keep their exact text: a number of 31
/// digits, an unknown field and NaN survive.
class KeptJson {
 public:
  KeptJson() = default;
  explicit KeptJson(const std::string& path) {
    const std::string bytes = read_file(path);
    JsonReader reader(without_byte_order_mark(bytes), path, JsonNumbers::python);
    reader.each_member([&](std::string name) {
      if (find(name)) reader.fail("name " + in_quotes(name) + " is given twice");
      members_.emplace_back(std::move(name), std::string(reader.raw()));
    });
    reader.finish();
  }

  const std::string* find(std::string_view name) const {
    for (const auto& member : members_)
      if (member.first == name) return &member.second;
    return nullptr;
  }
  Json value(std::string_view name) const {
    const std::string* text = find(name);
    return text ? parse_json(*text, name, SIZE_MAX, JsonNumbers::python) : Json();
  }
  /// Changes the text of a member only if its meaning changes.
  void set(std::string_view name, const Json& wanted) {
    for (auto& [known, text] : members_) {
      if (known != name) continue;
      if (!says_the_same(value(name), wanted)) text = wanted.dump();
      return;
    }
    members_.emplace_back(name, wanted.dump());
  }
  template <class Which>
  void erase_if(Which&& which) {
    std::erase_if(members_, [&](const auto& member) { return which(member.first); });
  }
  std::string dump() const {
    std::string out = "{";
    for (const auto& [name, text] : members_) {
      out += out.size() > 1 ? ",\n  " : "\n  ";
      append_json_string(out, name);
      out += ": " + text;
    }
    return out + (members_.empty() ? "}\n" : "\n}\n");
  }

 private:
  std::vector<std::pair<std::string, std::string>> members_;
};

/// Removes the ids of tokens outside of the vocabulary.
inline void drop_unknown_tokens(KeptJson& json, int vocab) {
  const auto is_outside = [&](const Json& id) {
    return id.is_integer() && id.as_double("") >= vocab;
  };
  json.erase_if([&](const std::string& name) {
    if (!name.ends_with("_token_id")) return false;
    const Json ids = json.value(name);
    if (!ids.is_array()) return is_outside(ids);
    return std::any_of(ids.items("").begin(), ids.items("").end(), is_outside);
  });
}

inline void set_tokens(KeptJson& json, const HuggingFaceExport& how) {
  if (how.bos_token) json.set("bos_token_id", *how.bos_token);
  if (how.eos_token) json.set("eos_token_id", *how.eos_token);
  if (how.pad_token) json.set("pad_token_id", *how.pad_token);
}

/// The folder whose fields are kept, or "".
inline std::string kept_folder(const HuggingFaceExport& how) {
  return how.like.empty() ? how.tokenizer_folder : how.like;
}

/// The fields of the config.json of `folder` that are still true of a model with configuration `c`.
/// An import has verified those that determine the computation. If the file is of another kind of
/// model, only the ids of the special tokens are kept.
inline KeptJson kept_config(const std::string& folder, const HuggingFaceFamily& family,
                            HuggingFaceFamilies families, const ModelConfig& c, const Options& o,
                            const HuggingFaceExport& how) {
  KeptJson kept(folder + "/config.json");
  HuggingFaceConfig from;
  bool readable = true;
  try {
    from = read_hugging_face_config(folder, families);
  } catch (const Error&) {
    readable = false;
  }
  const bool same_family = readable && from.family == &family;
  const bool grown = readable && from.family == family.dense;
  using Names = std::initializer_list<std::string_view>;
  const auto is_one_of = [](const auto& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  kept.erase_if([&](const std::string& name) {
    // Fields about the program, place and code that wrote the file, and about weights in other
    // formats.
    if (is_one_of(Names{"transformers_version", "_name_or_path", "_commit_hash", "auto_map",
                        "quantization_config"},
                  name))
      return true;
    if (grown && is_one_of(family.only_dense, name)) return true;
    if (name == "layer_types" && from.model.layers != c.layers) return true;
    if (name == "rope_scaling" && from.rope_base != o.rope_base) return true;
    return !same_family && !grown && !name.ends_with("_token_id");
  });
  drop_unknown_tokens(kept, c.vocab);
  const Options usual{.norm_eps = o.norm_eps, .rope_base = o.rope_base};
  const Json ours = hugging_face_config(family, c, o, how);
  const Json unchanged = hugging_face_config(family, c, usual, how);
  for (const auto& [name, value] : ours.members("")) {
    if (name.ends_with("_token_id")) continue;
    const std::string* theirs = kept.find(name);
    // The import does not read these: they are kept unless our options were changed.
    const bool untouched = (is_one_of(Names{"initializer_range", "use_cache"}, name) ||
                            is_one_of(family.not_read, name)) &&
                           value == unchanged.at(name);
    // null stands for the value that the import assumed.
    const bool implied = theirs && *theirs == "null" && same_family &&
                         differences(to_json(from.model), to_json(filled_in(c))).empty();
    const bool same_rope =
        name == "rope_parameters" && theirs && *theirs != "null" && from.rope_base == o.rope_base;
    const bool same_window = name == "sliding_window" && theirs && from.model.context >= c.context;
    if (theirs && (untouched || implied || same_rope || same_window)) continue;
    kept.set(name, value);
  }
  set_tokens(kept, how);
  return kept;
}

/// generation_config.json: that of `folder`, or one made from the tokens in its config.json.
inline KeptJson kept_generation(const std::string& folder, const KeptJson& config, int vocab,
                                const HuggingFaceExport& how) {
  KeptJson kept;
  const std::string path = folder + "/generation_config.json";
  if (exists(path)) {
    kept = KeptJson(path);
    kept.erase_if([](const std::string& name) {
      return name == "transformers_version" || name == "_commit_hash";
    });
    drop_unknown_tokens(kept, vocab);
  } else {
    for (const char* name : {"bos_token_id", "eos_token_id", "pad_token_id"})
      if (config.find(name)) kept.set(name, config.value(name));
  }
  set_tokens(kept, how);
  return kept;
}

}  // namespace moe::detail
