#pragma once
#include <moe/io/folder_transaction.hpp>
#include <moe/io/json.hpp>
#include <moe/io/safetensors.hpp>

namespace moe {

/// The tensors of a Hugging Face folder: of model.safetensors, or of the files that
/// model.safetensors.index.json names. Everything is checked before a tensor is read.
/// Errors: no such file, a file name with a path, a tensor in two files, one that the index names
/// and its file lacks or the other way round.  Test: tests/io/hugging_face.cpp.
///
///     const moe::HuggingFaceTensors tensors("smollm");
class HuggingFaceTensors {
 public:
  explicit HuggingFaceTensors(const std::string& folder) : folder_(folder) {
    const std::string single = folder + "/model.safetensors", index = single + ".index.json";
    if (detail::exists(single)) {
      files_.emplace_back(single);
      for (const auto& tensor : files_[0].tensors()) file_of_.emplace(tensor.name, 0);
    } else if (detail::exists(index)) {
      open_shards(index);
    } else {
      fail("there is neither model.safetensors nor model.safetensors.index.json",
           "check the path, or save the model with safe serialization");
    }
  }

  const std::string& folder() const { return folder_; }
  bool contains(const std::string& name) const { return file_of_.contains(name); }
  const Safetensors::Tensor& at(const std::string& name) const { return file(name).at(name); }
  /// Elements from number `first` on, converted to T.
  template <class T>
  void read(const std::string& name, std::size_t first, T* to, std::size_t count) const {
    file(name).read_part_as(name, first, to, count);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, at] : file_of_) all.push_back(name);
    return all;
  }

 private:
  static constexpr std::uint64_t index_limit = 64 << 20;
  static constexpr std::size_t max_files = 10000, max_tensors = 200000;

  [[noreturn]] void fail(const std::string& why, const std::string& hint) const {
    throw Error("moe: cannot load '" + folder_ + "': " + why + "; " + hint);
  }
  const Safetensors& file(const std::string& name) const {
    const auto found = file_of_.find(name);
    if (found == file_of_.end())
      fail("there is no tensor '" + name + "'", "check that it is of this model");
    return files_[found->second];
  }

  static bool is_plain_name(const std::string& name) {
    return !name.empty() && name != "." && name.find("..") == std::string::npos &&
           name.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos;
  }

  void open_shards(const std::string& path) {
    constexpr const char* again = "download the folder again";
    const FileReader size(path);
    if (size.size() > index_limit)
      fail("the index has " + std::to_string(size.size()) + " bytes", again);
    const std::string text = read_file(path);
    std::map<std::string, std::size_t> file_number;
    std::vector<std::string> shards;
    JsonReader reader(text, path);
    bool seen = false;
    reader.each_member([&](const std::string& field) {
      if (field != "weight_map") return reader.skip();
      if (std::exchange(seen, true)) reader.fail("weight_map is given twice");
      reader.each_member([&](const std::string& tensor) {
        const std::string shard = reader.string();
        if (!is_plain_name(shard)) reader.fail(Json(shard).dump() + " is no plain file name");
        const auto [at, is_new] = file_number.emplace(shard, shards.size());
        if (is_new) shards.push_back(shard);
        if (shards.size() > max_files) reader.fail("there are more than 10000 files");
        if (file_of_.size() == max_tensors) reader.fail("there are more than 200000 tensors");
        if (!file_of_.emplace(tensor, at->second).second)
          reader.fail("tensor '" + tensor + "' is given twice");
      });
    });
    reader.finish();
    if (!seen) reader.fail("there is no weight_map");
    std::size_t held = 0;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      files_.emplace_back(folder_ + "/" + shards[i]);
      for (const auto& tensor : files_[i].tensors()) {
        const auto known = file_of_.find(tensor.name);
        if (known == file_of_.end())
          fail("'" + shards[i] + "' holds tensor '" + tensor.name + "', which the index lacks",
               again);
        if (known->second != i)
          fail("tensor '" + tensor.name + "' is in '" + shards[i] + "', and by the index in '" +
                   shards[known->second] + "'",
               again);
        ++held;
      }
    }
    if (held == file_of_.size()) return;
    for (const auto& [name, at] : file_of_)
      if (!files_[at].contains(name))
        fail("the index places tensor '" + name + "' into '" + shards[at] + "', which lacks it",
             again);
  }

  std::string folder_;
  std::vector<Safetensors> files_;
  std::map<std::string, std::size_t> file_of_;
};

}  // namespace moe
