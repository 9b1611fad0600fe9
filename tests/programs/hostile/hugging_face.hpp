#pragma once
#include <moe/checkpoint/hugging_face.hpp>

#include "checkpoint.hpp"

namespace moe::hostile {

/// Attacks config.json, read alone and as part of an import.
inline void attack_config(const std::string& folder, const std::function<void()>& import,
                          std::size_t others) {
  const std::string path = folder + "/config.json";
  std::string good = read_file(path);
  while (good.back() != '}') good.pop_back();  // now no byte can be left out
  Reader alone("config.json", path, path, good, [folder] { read_hugging_face_config(folder); });
  Reader reader("import, config.json", path, folder, alone.good(), import);
  reader.also_reads(others);
  const auto both = [&](Cause cause, const std::string& what, const std::string& text) {
    alone.rejects(cause, what, text);
    reader.rejects(cause, what, text);
  };
  const auto with = [&](const char* name, const char* value) {
    Json json = parse_json(alone.good());
    json[name] = parse_json(value);
    return json.dump(2);
  };
  bad_json((1 << 20) - 64, both);
  bad_json(4 << 20, both);
  for (const char* name : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                           "num_key_value_heads", "intermediate_size", "max_position_embeddings",
                           "num_local_experts", "num_experts_per_tok"}) {
    for (const BadNumber& number : bad_numbers)
      both(number.cause, std::string(name) + " is " + number.text, with(name, number.text));
    both(Cause::assert_as_check, std::string(name) + " is 0", with(name, "0"));
    reader.rejects(Cause::two_sizes, std::string(name) + " is 2147483647",
                   with(name, "2147483647"));
  }
  for (const char* name : {"rms_norm_eps", "rope_theta"})
    for (const char* value : {"0", "-1", "\"1\"", "[1]", "true", "1e300"})
      reader.rejects(Cause::assert_as_check, std::string(name) + " is " + value, with(name, value));
  for (const char* name : {"model_type", "hidden_act", "tie_word_embeddings", "head_dim",
                           "layer_types", "rope_scaling", "rope_parameters", "sliding_window"})
    for (const char* value : {"-1", "[[1]]", "\"\\u0000\"", "1.5"})
      both(Cause::alignment_trusted, std::string(name) + " is " + value, with(name, value));
  alone.misplaced();
  alone.cut_and_appended(true);
  alone.flipped(0, alone.good().size(), false, 3);
  reader.flipped(0, alone.good().size(), false, 7);
}

/// Attacks the tensors of an import with valid files of the wrong model.
inline void attack_import(const std::string& folder, const std::function<void()>& import,
                          std::size_t others) {
  const std::string path = folder + "/model.safetensors";
  Reader reader("import, model.safetensors", path, folder, read_file(path), import);
  reader.also_reads(others);
  std::uint64_t size = 0;
  std::memcpy(&size, reader.good().data(), sizeof size);
  const std::string header = reader.good().substr(8, size), data = reader.good().substr(8 + size);
  const auto reject = [&](Cause cause, const std::string& what, const std::string& part,
                          const std::string& other, const std::string& more_data = "") {
    if (header.find(part) == std::string::npos) throw Error("the test lacks ", part, "; mend it");
    const std::string changed = std::string(header).replace(header.find(part), part.size(), other);
    reader.rejects(cause, what, word(changed.size()) + changed + data + more_data);
  };
  const std::string end = std::to_string(data.size());
  const auto extra = [&](Cause cause, const std::string& what, const std::string& name) {
    reject(cause, what, "{", "{" + entry(name, "F32", "[0]", "[" + end + "," + end + "]") + ",");
  };
  reject(Cause::two_sizes, "a matrix turned", "\"shape\":[4,8]", "\"shape\":[8,4]");
  reject(Cause::dims_beyond_data, "one column less", "\"shape\":[11,8]", "\"shape\":[88]");
  reject(Cause::narrowing_cast, "other elements", "\"F32\"", "\"I32\"");
  reject(Cause::alignment_trusted, "elements without a value", "\"F32\"", "\"C64\"");
  reject(Cause::missing_part, "another name", "model.norm.weight", "model.norn.weight");
  extra(Cause::header_counts, "a layer too many", "model.layers.2.input_layernorm.weight");
  extra(Cause::index_from_text, "layer -1", "model.layers.-1.self_attn.rotary_emb.inv_freq");
  extra(Cause::index_from_text, "layer 2^32",
        "model.layers.4294967296.self_attn.rotary_emb.inv_freq");
  extra(Cause::fixed_array, "an expert too many",
        "model.layers.0.block_sparse_moe.experts.3.w1.weight");
  extra(Cause::length_plus_one, "a name of 4 MB", std::string(4 << 20, 'a'));
  extra(Cause::error_paths, "a name with control characters", "a\\u0000\\n\\u001b[2J");
  std::string many = "{";
  for (int i = 0; i < 20000; ++i) many += entry(std::to_string(i), "F32", "[0]", "[0,0]") + ",";
  reject(Cause::count_bound, "20000 more tensors", "{", many);
  causes_in_safetensors(reader);
  conformance_of_safetensors(reader);
  reader.misplaced();
  reader.cut_and_appended(true, 41);
  reader.flipped(0, 8 + size, false, 29);
}

/// Attacks model.safetensors.index.json and the files that it names.
inline void attack_index(const std::string& folder) {
  const std::string path = folder + "/model.safetensors.index.json";
  const auto read = [folder] { HuggingFaceTensors files(folder); };
  const auto shard = [&](const std::string& tensor) {
    return with_header("{" + entry(tensor, "F32", "[2]", "[0,8]") + "}", 8);
  };
  make_folders(folder + "/sub");
  put_file(folder + "/one", shard("a"));
  put_file(folder + "/two", with_header("{" + entry("b", "F32", "[2]", "[0,8]") + "," +
                                            entry("c", "F32", "[0]", "[8,8]") + "}",
                                        8));
  put_file(folder + "/sub/three", shard("b"));
  const auto index = [](const std::string& map) {
    return R"({"metadata":{"total_size":16},"weight_map":)" + map + "}";
  };
  Reader reader("index.json", path, folder, index(R"({"a":"one","b":"two","c":"two"})"), read);
  reader.also_reads(shard("a").size() + shard("b").size());
  const auto reject = [&](Cause cause, const std::string& what, const std::string& text) {
    reader.rejects(cause, what, text);
  };
  bad_json(4 << 20, reject);
  bad_json(4 << 20, [&](Cause cause, const std::string& what, const std::string& text) {
    if (text != "{}") reject(cause, "weight_map " + what, index(text));
  });
  for (const char* name : {"sub/three", "../index/two", "/etc/hostname", "", ".", "..", "sub",
                           "two\\u0000", "c:two", "nothing", "..\\\\two"})
    reject(Cause::trusted_offsets, std::string("file ") + name,
           index(std::string(R"({"a":"one","c":"two","b":")") + name + "\"}"));
  for (const BadNumber& number : bad_numbers)
    if (number.text[0] != '"')
      reject(number.cause, std::string("file ") + number.text,
             index(std::string(R"({"a":"one","c":"two","b":)") + number.text + "}"));
  reject(Cause::two_sizes, "a tensor in the other file",
         index(R"({"a":"two","b":"one","c":"two"})"));
  reject(Cause::two_sizes, "a tensor too many",
         index(R"({"a":"one","b":"two","c":"two","d":"two"})"));
  reject(Cause::two_sizes, "a tensor too few", index(R"({"a":"one","b":"two"})"));
  reject(Cause::two_sizes, "a tensor twice", index(R"({"a":"one","b":"two","c":"two","a":"one"})"));
  reject(Cause::two_sizes, "the map twice",
         R"({"weight_map":{"a":"one","b":"two"},"weight_map":{}})");
  reject(Cause::missing_part, "no map", R"({"metadata":{}})");
  std::string files = "{", tensors = "{";
  for (int i = 0; i < 10001; ++i)
    files += "\"" + std::to_string(i) + "\":\"" + std::to_string(i) + "\",";
  for (int i = 0; i < 300000; ++i) tensors += "\"" + std::to_string(i) + "\":\"one\",";
  reject(Cause::header_counts, "10001 files", index(files + "\"a\":\"one\"}"));
  reject(Cause::count_bound, "300000 tensors, then no more", index(tensors));
  reject(Cause::count_bound, "300000 tensors that are not there",
         index(tensors + "\"a\":\"one\"}"));
  reject(Cause::length_plus_one, "a file name of 4 MB",
         index("{\"a\":\"" + std::string(4 << 20, 'a') + "\"}"));
  reject(Cause::length_plus_one, "a tensor name of 4 MB",
         index("{\"" + std::string(4 << 20, 'a') + "\":\"one\"}"));
  reader.misplaced();
  reader.cut_and_appended(true);
  reader.flipped(0, reader.good().size(), false);
}

inline void attack_hugging_face(const test::ScratchFolder& scratch) {
  SmallBackend backend;
  SmallModel model(backend, {.max_tokens = 6});
  const std::string folder = scratch / "mixtral";
  export_hugging_face(model, folder);
  const auto import = [&] { import_hugging_face(model, folder); };
  attack_config(folder, import, read_file(folder + "/model.safetensors").size());
  attack_import(folder, import, read_file(folder + "/config.json").size());
  attack_index(scratch / "index");
}

}  // namespace moe::hostile
