#pragma once
#include <moe/backend/backend.hpp>
#include <moe/checkpoint/manifest.hpp>
#include <moe/io/folder_transaction.hpp>
#include <moe/io/safetensors.hpp>
#include <moe/tree/leaves.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// The shape of a leaf in files, without the dimensions that are 1 by construction.
inline std::vector<std::size_t> file_shape(int count, int rows, int cols) {
  std::vector<std::size_t> shape;
  if (count > 1) shape.push_back(std::size_t(count));
  if (rows > 1) shape.push_back(std::size_t(rows));
  shape.push_back(std::size_t(cols));
  return shape;
}

/// One tensor file of a checkpoint, and its transfer between disk and backend.
template <class B>
class TensorFile {
 public:
  TensorFile(B& be, std::string file) : be_(&be), file_(std::move(file)) {}

  /// Adds a leaf to be saved or loaded.
  template <class T>
  void add(const std::string& name, const LeafView<T>& leaf) {
    if (leaf.size == 0) return;
    auto shape = file_shape(leaf.count, leaf.rows, leaf.cols);
    tensors_.push_back({tensor_view(name, std::move(shape), leaf.data), leaf.data, {}});
  }

  /// Writes the file into a transaction and describes it in `files`. Works in pieces, so memory
  /// does not grow with the size of the model.
  void write(FolderTransaction& to, Json& files) const {
    std::vector<TensorView> views;  // pointers into the backend's memory
    views.reserve(tensors_.size());
    for (const Tensor& t : tensors_) views.push_back(t.view);
    const SafetensorsHeader header = safetensors_header(views, {{"format", "pt"}});
    FileWriter file = to.create(file_);
    Xxh64 all;
    std::size_t bytes = 0;
    const auto append = [&](const void* data, std::size_t size) {
      file.write(data, size);
      all.add(data, size);
      bytes += size;
    };
    append(header.bytes.data(), header.bytes.size());
    std::vector<char> piece(std::size_t(1) << 20);
    Json hashes = Json::object();
    for (std::size_t i = 0; i < views.size(); ++i) {
      const auto* from = static_cast<const char*>(header.order[i]->data);
      Xxh64 hash;
      for (std::size_t left = header.sizes[i]; left > 0;) {
        const std::size_t size = std::min(left, piece.size());
        be_->download(piece.data(), from, size);
        append(piece.data(), size);
        hash.add(piece.data(), size);
        from += size, left -= size;
      }
      put(hashes, header.order[i]->name, hex(hash.value()));
    }
    file.finish();
    Json& entry = files[file_];
    put(entry, "bytes", std::int64_t(bytes));
    put(entry, "xxh64", hex(all.value()));
    put(entry, "tensors", std::move(hashes));
  }

  /// Reads and verifies all tensors, without changing the backend's memory.
  void read(const FolderReader& reader, const Json& manifest) {
    const std::string& folder = reader.path();
    const std::string list = manifest_field(folder, "files"), what = list + "." + file_;
    const Json& entry = manifest.at("files", manifest_field(folder)).at(file_, list);
    const std::uint64_t size = reader.file(file_).size();
    const std::uint64_t known = entry.at("bytes", what).as_uint(what + ".bytes");
    if (size != known) {
      damaged(folder, file_ + " has " + std::to_string(size) + " bytes where its manifest says " +
                          std::to_string(known));
    }
    const Safetensors file(reader.file(file_));
    for (Tensor& t : tensors_) {
      const std::string& name = t.view.name;
      const Json* hash = entry.at("tensors", what).find(name);
      if (!hash || !file.contains(name)) {
        throw Error("cannot load checkpoint '", folder, "': ", file_, " has no tensor '", name,
                    "'; it is of another model or optimizer, use the one it was saved by");
      }
      if (file.shape(name) != t.view.shape)
        damaged(folder, "tensor '" + name + "' of " + file_ + " has another shape");
      t.bytes = file.read_bytes(name);
      if (hex(xxh64(t.bytes.data(), t.bytes.size())) != hash->as_string(what + ".tensors." + name))
        damaged(folder, "tensor '" + name + "' of " + file_ + " does not match its checksum");
      convert_to(t.view.dtype, file, name, t.bytes);
    }
    if (file.tensors().size() != tensors_.size()) {
      throw Error("cannot load checkpoint '", folder, "': ", file_, " has ", file.tensors().size(),
                  " tensors where ", tensors_.size(),
                  " are expected; it is of another model or optimizer, use those it was saved by");
    }
    if (hash_of(reader.file(file_)) != entry.at("xxh64", what).as_string(what + ".xxh64"))
      damaged(folder, file_ + " does not match its checksum");
  }

  /// Uploads what read() verified to the backend.
  void apply() const {
    for (const Tensor& t : tensors_) be_->upload(t.data, t.bytes.data(), t.bytes.size());
  }

 private:
  struct Tensor {
    TensorView view;
    void* data;         // in the backend's memory
    std::string bytes;  // what was read, in the type of the view
  };

  /// Changes the bytes of a tensor to the type `to`, if they are of another one. float and bfloat16
  /// are taken by every program: to bfloat16 numbers are rounded, else nothing is lost.
  /// Errors: the file holds numbers of any other type.
  static void convert_to(Dtype to, const Safetensors& file, const std::string& name,
                         std::string& bytes) {
    const auto take = [&]<class T>(T) {
      const Dtype has = file.dtype(name);
      if (has == to) return;
      if (has != Dtype::F32 && has != Dtype::BF16) file.read<T>(name);  // says what is expected
      using Read = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;
      std::vector<Read> numbers(bytes.size() * 8 / std::size_t(bits_of(has)));
      convert(has, bytes.data(), numbers.size(), numbers.data());
      const std::vector<T> values(numbers.begin(), numbers.end());
      bytes.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    };
    if (to == Dtype::F64) return take(double{});
    if (to == Dtype::F32) return take(float{});
    take(bfloat16{});
  }

  B* be_;
  std::string file_;
  std::vector<Tensor> tensors_;
};

}  // namespace moe
