#pragma once
#include <map>
#include <moe/io/dtype.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json_reader.hpp>
#include <moe/io/safetensors_writer.hpp>

namespace moe {

/// A safetensors file, opened for reading. Everything the header says is checked against the
/// size of the file before anything is allocated for it; data is read tensor by tensor.
/// Stricter than the reference reader: a name given twice, more than 8 dimensions, more than
/// 100000 tensors or metadata entries, and the array and map forms of serde are rejected.
/// Errors: moe::Error naming the file, the tensor and the reason.
/// Source: huggingface/safetensors src/tensor.rs.  Test: tests/io/safetensors.cpp.
///
///     const moe::Safetensors file("model.safetensors");
///     const std::vector<float> weight = file.read<float>("wte.weight");
class Safetensors {
 public:
  struct Tensor {
    std::string name;
    Dtype dtype = Dtype::F32;
    std::vector<std::size_t> shape;
    std::uint64_t begin = 0, end = 0;  // bytes after the header

    std::size_t elements() const {
      return static_cast<std::size_t>((end - begin) * 8) / static_cast<std::size_t>(bits_of(dtype));
    }
  };

  explicit Safetensors(const std::string& path) : file_(path) {
    read_header();
    check_layout();
    std::sort(tensors_.begin(), tensors_.end(),
              [](const Tensor& a, const Tensor& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < tensors_.size(); ++i) {
      if (tensors_[i].name == tensors_[i - 1].name) fail(tensors_[i], "the name is given twice");
    }
  }

  const std::string& path() const { return file_.path(); }
  /// Sorted by name.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Tensor& tensor : tensors_) all.push_back(tensor.name);
    return all;
  }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const std::vector<std::size_t>& shape(std::string_view name) const { return at(name).shape; }
  Dtype dtype(std::string_view name) const { return at(name).dtype; }

  /// The tensor `name`.  Errors: absent.
  const Tensor& at(std::string_view name) const {
    if (const Tensor* tensor = find(name)) return *tensor;
    throw Error("moe: cannot find tensor '" + std::string(name) + "' in '" + path() +
                "': none of its " + std::to_string(tensors_.size()) +
                " tensors has this name; check that the file is of this model");
  }

  /// Elements of exactly the type T, into a vector or into `to` (`count` elements).
  /// Errors: another element type, another count, the file ends early.
  template <class T>
  std::vector<T> read(std::string_view name) const {
    std::vector<T> out(at(name).elements());
    read_into(name, out.data(), out.size());
    return out;
  }
  template <class T>
  void read_into(std::string_view name, T* to, std::size_t count) const {
    const Tensor& tensor = at(name);
    if (tensor.dtype != dtype_of<T>()) {
      fail(tensor, "its elements are " + std::string(name_of(tensor.dtype)) + " where " +
                       std::string(name_of(dtype_of<T>())) + " is expected");
    }
    require_count(tensor, count);
    file_.read(data_begin_ + tensor.begin, to, count * sizeof(T));
  }

  /// Elements of any integer or floating type up to 64 bits, converted to T.
  template <class T>
  std::vector<T> read_as(std::string_view name) const {
    std::vector<T> out(at(name).elements());
    read_as_into(name, out.data(), out.size());
    return out;
  }
  template <class T>
  void read_as_into(std::string_view name, T* to, std::size_t count) const {
    const Tensor& tensor = at(name);
    if (!is_convertible(tensor.dtype)) {
      fail(tensor, "elements " + std::string(name_of(tensor.dtype)) + " cannot be converted");
    }
    require_count(tensor, count);
    const std::size_t width = static_cast<std::size_t>(bits_of(tensor.dtype)) / 8;
    std::vector<unsigned char> piece(std::min<std::size_t>(count * width, piece_bytes));
    for (std::size_t done = 0; done < count;) {
      const std::size_t n = std::min(count - done, piece_bytes / width);
      file_.read(data_begin_ + tensor.begin + done * width, piece.data(), n * width);
      convert(tensor.dtype, piece.data(), n, to + done);
      done += n;
    }
  }

  /// The bytes of a tensor of any element type.
  std::string read_bytes(std::string_view name) const {
    const Tensor& tensor = at(name);
    std::string bytes(tensor.end - tensor.begin, '\0');
    file_.read(data_begin_ + tensor.begin, bytes.data(), bytes.size());
    return bytes;
  }

 private:
  static constexpr std::size_t piece_bytes = 1 << 16, max_entries = 100000, max_rank = 8;

  [[noreturn]] void fail(const std::string& why) const {
    throw Error("moe: cannot read '" + path() + "' as safetensors: " + why +
                "; the file is damaged or not of this format");
  }
  [[noreturn]] void fail(const Tensor& tensor, const std::string& why) const {
    throw Error("moe: cannot read tensor '" + tensor.name + "' of '" + path() + "': " + why +
                "; the file is damaged or of another model");
  }
  void require_count(const Tensor& tensor, std::size_t count) const {
    if (tensor.elements() == count) return;
    fail(tensor, "it has " + std::to_string(tensor.elements()) + " elements where " +
                     std::to_string(count) + " are expected");
  }
  const Tensor* find(std::string_view name) const {
    const auto after = [](const Tensor& tensor, std::string_view wanted) {
      return tensor.name < wanted;
    };
    const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name, after);
    return found != tensors_.end() && found->name == name ? &*found : nullptr;
  }

  void read_header();
  void read_metadata(JsonReader& reader);
  void read_tensor(JsonReader& reader, std::string name);
  void check_layout();

  FileReader file_;
  std::uint64_t data_begin_ = 0;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

inline void Safetensors::read_header() {
  if (file_.size() < 8) fail("it has fewer than 8 bytes");
  std::uint64_t bytes = 0;
  file_.read(0, &bytes, 8);
  if (bytes > max_safetensors_header) fail("its header would be larger than 100 MB");
  if (bytes > file_.size() - 8) fail("its header would end behind the end of the file");
  data_begin_ = 8 + bytes;
  std::string header(bytes, '\0');
  file_.read(8, header.data(), bytes);
  const std::string what = "the header of '" + path() + "'";
  JsonReader reader(header, what);
  bool metadata_seen = false;
  reader.each_member([&](std::string name) {
    if (name != "__metadata__") return read_tensor(reader, std::move(name));
    if (std::exchange(metadata_seen, true)) reader.fail("__metadata__ is given twice");
    read_metadata(reader);
  });
  reader.finish();
}

inline void Safetensors::read_metadata(JsonReader& reader) {
  if (reader.accept("null")) return;
  reader.each_member([&](const std::string& key) {
    metadata_[key] = reader.string();
    if (metadata_.size() > max_entries) reader.fail("there are more than 100000 metadata entries");
  });
}

inline void Safetensors::read_tensor(JsonReader& reader, std::string name) {
  if (tensors_.size() == max_entries) reader.fail("there are more than 100000 tensors");
  Tensor tensor;
  tensor.name = std::move(name);
  const auto integer = [&] {
    const JsonNumber number = reader.number();
    if (number.kind == JsonNumber::Kind::unsigned_integer) return number.unsigned_value;
    const bool good = number.kind == JsonNumber::Kind::signed_integer && number.signed_value >= 0;
    if (!good) reader.fail("a size of tensor '" + tensor.name + "' is no integer of 0 or more");
    return static_cast<std::uint64_t>(number.signed_value);
  };
  int dtype_seen = 0, shape_seen = 0, offsets_seen = 0;
  reader.each_member([&](const std::string& field) {
    if (field == "dtype") {
      ++dtype_seen;
      const std::string wanted = reader.string();
      int i = 0;
      while (i < dtypes && name_of(static_cast<Dtype>(i)) != wanted) ++i;
      if (i == dtypes) reader.fail("element type '" + wanted + "' is unknown");
      tensor.dtype = static_cast<Dtype>(i);
    } else if (field == "shape") {
      ++shape_seen;
      reader.each_item([&] {
        if (tensor.shape.size() == max_rank) reader.fail("a tensor has more than 8 dimensions");
        tensor.shape.push_back(integer());
      });
    } else if (field == "data_offsets") {
      ++offsets_seen;
      int items = 0;
      reader.each_item([&] {
        if (items == 2) reader.fail("data_offsets has more than 2 items");
        (items++ == 0 ? tensor.begin : tensor.end) = integer();
      });
      if (items != 2) reader.fail("data_offsets has fewer than 2 items");
    } else {
      reader.skip();
    }
  });
  if (dtype_seen != 1 || shape_seen != 1 || offsets_seen != 1) {
    reader.fail("tensor '" + tensor.name + "' needs dtype, shape and data_offsets once each");
  }
  tensors_.push_back(std::move(tensor));
}

inline void Safetensors::check_layout() {
  // Empty tensors share their begin with the next one: (begin, end) puts them first.
  std::sort(tensors_.begin(), tensors_.end(), [](const Tensor& a, const Tensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const Tensor& tensor : tensors_) {
    if (tensor.begin != at || tensor.end < tensor.begin) {
      fail(tensor, "its bytes " + std::to_string(tensor.begin) + " to " +
                       std::to_string(tensor.end) + " do not follow the tensor before it");
    }
    const std::optional<std::uint64_t> bits = checked_bits(tensor.dtype, tensor.shape);
    if (!bits) fail(tensor, "its shape has more elements than 64 bits can count");
    if (*bits % 8 != 0) fail(tensor, "its elements do not fill whole bytes");
    if (tensor.end - tensor.begin != *bits / 8) {
      fail(tensor, "its shape needs " + std::to_string(*bits / 8) + " bytes, its offsets give " +
                       std::to_string(tensor.end - tensor.begin));
    }
    at = tensor.end;
  }
  if (at != file_.size() - data_begin_) {
    fail("its tensors need " + std::to_string(at) + " bytes of data and it has " +
         std::to_string(file_.size() - data_begin_));
  }
}

}  // namespace moe
