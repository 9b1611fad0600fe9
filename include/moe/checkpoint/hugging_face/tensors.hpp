#pragma once
#include <algorithm>
#include <map>
#include <moe/io/folder_reader.hpp>
#include <moe/io/json.hpp>
#include <moe/io/safetensors.hpp>

namespace moe::inline MOE_ISA {

/// The tensors of a Hugging Face folder: of model.safetensors, or of the files that
/// model.safetensors.index.json names. Everything is checked before a tensor is read.
/// Errors: moe::Error if there is no such file, a file name contains a path, a tensor is in two
/// files, or the index and the files disagree.  Test: tests/checkpoint/hugging_face.cpp.
///
///     const moe::HuggingFaceTensors tensors("smollm");
class HuggingFaceTensors {
 public:
  explicit HuggingFaceTensors(const std::string& folder) : folder_(folder) {
    const std::string single = folder + "/model.safetensors", index = single + ".index.json";
    if (detail::exists(single)) {
      files_.emplace_back(single);
    } else if (detail::exists(index)) {
      open_shards(index);
    } else {
      fail_without_tensors();
    }
  }

  const std::string& folder() const { return folder_; }
  bool contains(const std::string& name) const { return find(name) < files_.size(); }
  const Safetensors::Tensor& at(const std::string& name) const { return file(name).at(name); }
  /// Reads elements from number `first` on, converted to T.
  template <class T>
  void read(const std::string& name, std::size_t first, T* to, std::size_t count) const {
    file(name).read_part_as(name, first, to, count);
  }
  /// Sorted.
  std::vector<std::string> names() const {
    std::size_t count = 0;
    for (const Safetensors& file : files_) count += file.tensors().size();
    std::vector<std::string> all;
    all.reserve(count);
    for (const Safetensors& file : files_)
      for (const auto& tensor : file.tensors()) all.push_back(tensor.name);
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  static constexpr std::uint64_t index_limit = 64 << 20;
  static constexpr std::size_t max_files = 10000, max_tensors = 200000;

  [[noreturn]] void fail(const std::string& why, const std::string& hint) const {
    throw Error("cannot load '", folder_, "': ", why, "; ", hint);
  }
  /// Throws an error that says what the folder holds instead of safetensors.
  [[noreturn]] void fail_without_tensors() const {
    std::string there;
    for (const char* other :
         {"pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.safetensors",
          "consolidated.safetensors", "consolidated.00.pth", "tf_model.h5", "flax_model.msgpack"})
      if (there.empty() && detail::exists(folder_ + "/" + other)) there = other;
    const std::string neither =
        "there is neither model.safetensors nor model.safetensors.index.json";
    if (there.empty()) fail(neither, "check the path, or save the model with safe serialization");
    if (there.starts_with("adapter"))
      fail(neither + ", only '" + there + "', the difference to another model",
           "merge it into that model with merge_and_unload() of peft and save the result");
    fail(neither + ", only '" + there + "'",
         "convert it with AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, "
         "safe_serialization=True) of transformers");
  }
  /// The number of the file that holds a tensor, or the number of files if none does.
  std::size_t find(const std::string& name) const {
    std::size_t i = 0;
    while (i < files_.size() && !files_[i].contains(name)) ++i;
    return i;
  }
  const Safetensors& file(const std::string& name) const {
    const std::size_t i = find(name);
    if (i == files_.size())
      fail("there is no tensor " + in_quotes(name), "check that it is of this model");
    return files_[i];
  }

  static bool is_plain_name(const std::string& name) {
    constexpr std::size_t longest = 255;
    for (const char c : name)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
    return !name.empty() && name.size() <= longest && name != "." &&
           name.find("..") == std::string::npos && name.find_first_of("/\\:") == std::string::npos;
  }

  /// Calls f(tensor, file name) for each entry of the index.
  template <class F>
  static void walk(JsonReader reader, F&& f) {
    bool seen = false;
    reader.each_member([&](const std::string& field) {
      if (field != "weight_map") return reader.skip();
      if (std::exchange(seen, true)) reader.fail("weight_map is given twice");
      reader.each_member([&](const std::string& tensor) {
        const std::string shard = reader.string();
        if (!is_plain_name(shard)) reader.fail(in_quotes(shard) + " is no plain file name");
        f(tensor, shard, reader);
      });
    });
    reader.finish();
    if (!seen) reader.fail("there is no weight_map");
  }

  /// The index is compared with the files and not kept in memory.
  void open_shards(const std::string& path) {
    constexpr const char* again = "download the folder again";
    if (const std::uint64_t size = FileReader(path).size(); size > index_limit)
      fail("the index has " + std::to_string(size) + " bytes", again);
    const std::string text = read_file(path);
    const JsonReader index(text, path);
    std::map<std::string, std::size_t> number;
    walk(index, [&](const std::string&, const std::string& shard, const JsonReader& reader) {
      number.emplace(shard, 0);
      if (number.size() > max_files) reader.fail("there are more than 10000 files");
    });
    std::vector<std::string> shards;
    std::vector<std::vector<bool>> listed;  // of each tensor of each file
    std::string missing;
    for (const auto& [shard, unused] : number)
      if (!detail::exists(folder_ + "/" + shard) && missing.size() < 500)
        missing += (missing.empty() ? "" : ", ") + in_quotes(shard);
    if (!missing.empty())
      fail("No such file as " + missing + ", which the index names", "download what is missing");
    for (auto& [shard, at] : number) {
      at = shards.size();
      shards.push_back(shard);
      files_.emplace_back(folder_ + "/" + shard);
      listed.emplace_back(files_.back().tensors().size());
    }
    const auto misplaced = [&](const std::string& tensor, std::size_t file, std::size_t by_index) {
      fail("tensor " + in_quotes(tensor) + " is in '" + shards[file] + "', and by the index in '" +
               shards[by_index] + "'",
           again);
    };
    std::string lacking;
    walk(index, [&](const std::string& tensor, const std::string& shard, const JsonReader& reader) {
      const std::size_t file = number.at(shard);
      if (files_[file].contains(tensor)) {
        const auto at =
            static_cast<std::size_t>(&files_[file].at(tensor) - files_[file].tensors().data());
        if (listed[file][at]) reader.fail("tensor " + in_quotes(tensor) + " is given twice");
        listed[file][at] = true;
      } else if (lacking.empty()) {
        if (const std::size_t other = find(tensor); other < files_.size())
          misplaced(tensor, other, file);
        lacking = "the index places tensor " + in_quotes(tensor) + " into '" + shard +
                  "', which lacks it";
      }
    });
    for (std::size_t i = 0; i < files_.size(); ++i) {
      for (std::size_t at = 0; at < listed[i].size(); ++at) {
        if (listed[i][at]) continue;
        const std::string& tensor = files_[i].tensors()[at].name;
        for (std::size_t j = 0; j < files_.size(); ++j)
          if (j != i && files_[j].contains(tensor)) misplaced(tensor, i, j);
        fail("'" + shards[i] + "' holds tensor " + in_quotes(tensor) + ", which the index lacks",
             again);
      }
    }
    if (!lacking.empty()) fail(lacking, again);
  }

  std::string folder_;
  std::vector<Safetensors> files_;
};

}  // namespace moe
