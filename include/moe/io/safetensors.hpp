#pragma once
#include <algorithm>
#include <map>
#include <moe/io/checksum.hpp>
#include <moe/io/dtype.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json_reader.hpp>
#include <moe/io/safetensors_entry.hpp>
#include <moe/io/safetensors_writer.hpp>
#include <optional>

namespace moe::inline MOE_ISA {

/// A safetensors file, opened for reading. The header is checked against the size of the file
/// before anything is allocated for the tensors. Data is read tensor by tensor.
/// Stricter than the reference reader: it rejects duplicate names, more than 8 dimensions, more
/// than 100000 tensors or metadata entries, and the array and map forms of serde.
/// Errors: moe::Error with the file, the tensor and the reason.
/// Source: huggingface/safetensors src/tensor.rs.  Test: tests/io/safetensors.cpp.
///
///     const moe::Safetensors file("model.safetensors");
///     const std::vector<float> weight = file.read<float>("wte.weight");
class Safetensors {
 public:
  using Tensor = SafetensorsTensor;

  explicit Safetensors(const std::string& path) : Safetensors(FileReader(path)) {}
  explicit Safetensors(FileReader file) : file_(std::move(file)) {
    const std::string header = read_header();
    tensors_.reserve(check(header));
    walk(
        header, [&](Tensor&& tensor) { tensors_.push_back(std::move(tensor)); },
        [&](const std::string& key, std::string&& value) { metadata_[key] = std::move(value); });
    std::sort(tensors_.begin(), tensors_.end(),
              [](const Tensor& a, const Tensor& b) { return a.name < b.name; });
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

  /// The tensor `name`.  Errors: it does not exist.
  const Tensor& at(std::string_view name) const {
    if (const Tensor* tensor = find(name)) return *tensor;
    throw Error("cannot find tensor ", in_quotes(name), " in '", path(), "': none of its ",
                tensors_.size(), " tensors has this name; check that the file is of this model");
  }

  /// Reads a tensor whose elements have exactly type T, into a vector or into `to` (`count`
  /// elements).
  /// Errors: another element type or count, or the file ends early.
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
      fail(tensor, "its elements are " + std::string(enum_name(tensor.dtype)) + " where " +
                       std::string(enum_name(dtype_of<T>())) + " is expected");
    }
    require_count(tensor, count);
    file_.read(data_begin_ + tensor.begin, to, count * sizeof(T));
  }

  /// Reads a tensor of any integer or floating-point type of up to 64 bits, converted to T.
  template <class T>
  std::vector<T> read_as(std::string_view name) const {
    std::vector<T> out(at(name).elements());
    read_as_into(name, out.data(), out.size());
    return out;
  }
  template <class T>
  void read_as_into(std::string_view name, T* to, std::size_t count) const {
    require_count(at(name), count);
    read_part_as(name, 0, to, count);
  }
  /// Reads `count` elements, starting at number `first`.
  template <class T>
  void read_part_as(std::string_view name, std::size_t first, T* to, std::size_t count) const {
    const Tensor& tensor = at(name);
    if (!is_convertible(tensor.dtype)) {
      fail(tensor, "elements " + std::string(enum_name(tensor.dtype)) + " cannot be converted");
    }
    if (first > tensor.elements() || count > tensor.elements() - first) {
      fail(tensor, "it has " + std::to_string(tensor.elements()) + " elements where " +
                       std::to_string(count) + " from number " + std::to_string(first) +
                       " on are wanted");
    }
    const std::size_t width = static_cast<std::size_t>(bits_of(tensor.dtype)) / 8;
    std::vector<unsigned char> piece(std::min<std::size_t>(count * width, piece_bytes));
    for (std::size_t done = 0; done < count;) {
      const std::size_t n = std::min(count - done, piece_bytes / width);
      const std::uint64_t begin = data_begin_ + tensor.begin + (first + done) * width;
      file_.read(begin, piece.data(), n * width);
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
  static constexpr std::size_t piece_bytes = 1 << 16, max_tensors = 100000, max_metadata = 100000;

  [[noreturn]] void fail(const std::string& why) const {
    char begin[64];
    detail::refuse_foreign({begin, file_.read_some(0, begin, sizeof begin)}, path());
    throw Error("cannot read '", path(), "' as safetensors: ", why,
                "; the file is damaged or not of this format");
  }
  [[noreturn]] void fail(const Tensor& tensor, const std::string& why) const {
    throw Error("cannot read tensor ", in_quotes(tensor.name), " of '", path(), "': ", why,
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

  /// What is kept of a tensor until all tensors are checked.
  struct Place {
    std::uint64_t begin, end, name_hash;
    std::size_t number;  // index in the header
  };

  std::string read_header();
  template <class OnTensor, class OnMetadata>
  void walk(const std::string& header, OnTensor&& on_tensor, OnMetadata&& on_metadata);
  std::size_t check(const std::string& header);
  void check_layout(const std::string& header, std::vector<Place>& places);
  [[noreturn]] void fail_at(const std::string& header, const Place& place, const std::string& why);

  FileReader file_;
  std::uint64_t data_begin_ = 0;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

inline std::string Safetensors::read_header() {
  if (file_.size() < 8) fail("it has fewer than 8 bytes");
  std::uint64_t bytes = 0;
  file_.read(0, &bytes, 8);
  if (bytes > max_safetensors_header) fail("its header would be larger than 100 MB");
  if (bytes > file_.size() - 8) fail("its header would end behind the end of the file");
  data_begin_ = 8 + bytes;
  std::string header(bytes, '\0');
  file_.read(8, header.data(), bytes);
  return header;
}

template <class OnTensor, class OnMetadata>
void Safetensors::walk(const std::string& header, OnTensor&& on_tensor, OnMetadata&& on_metadata) {
  const std::string what = "the header of '" + path() + "'";
  JsonReader reader(header, what);
  std::size_t tensors = 0, entries = 0;
  bool metadata_seen = false;
  reader.each_member([&](std::string name) {
    if (name != "__metadata__") {
      if (tensors++ == max_tensors) reader.fail("there are more than 100000 tensors");
      return on_tensor(detail::read_tensor_entry(reader, std::move(name)));
    }
    if (std::exchange(metadata_seen, true)) reader.fail("__metadata__ is given twice");
    if (reader.accept("null")) return;
    reader.each_member([&](const std::string& key) {
      if (entries++ == max_metadata) reader.fail("there are more than 100000 metadata entries");
      on_metadata(key, reader.string());
    });
  });
  reader.finish();
}

/// Checks the header completely: first the text and each tensor by itself, then all of them
/// together, keeping only a Place for each. A rejected file thus costs little memory. Returns the
/// number of tensors.
inline std::size_t Safetensors::check(const std::string& header) {
  const auto no_metadata = [](const std::string&, const std::string&) {};
  std::size_t count = 0;
  const auto check_one = [&](const Tensor& tensor) {
    const std::optional<std::uint64_t> bits = checked_bits(tensor.dtype, tensor.shape);
    if (!bits) fail(tensor, "its shape has more elements than 64 bits can count");
    if (*bits % 8 != 0) fail(tensor, "its elements do not fill whole bytes");
    if (tensor.end < tensor.begin) fail(tensor, detail::out_of_place(tensor));
    if (tensor.end - tensor.begin != *bits / 8) {
      fail(tensor, "its shape needs " + std::to_string(*bits / 8) + " bytes, its offsets give " +
                       std::to_string(tensor.end - tensor.begin));
    }
    ++count;
  };
  walk(header, check_one, no_metadata);
  std::vector<Place> places;
  places.reserve(count);
  const auto add = [&](const Tensor& tensor) {
    const std::uint64_t hash = xxh64(tensor.name.data(), tensor.name.size());
    places.push_back({tensor.begin, tensor.end, hash, places.size()});
  };
  walk(header, add, no_metadata);
  check_layout(header, places);
  return count;
}

inline void Safetensors::check_layout(const std::string& header, std::vector<Place>& places) {
  // An empty tensor begins where the next one does; sorting by (begin, end) puts it first.
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const Place& place : places) {
    if (place.begin != at) fail_at(header, place, detail::out_of_place(place));
    at = place.end;
  }
  if (at != file_.size() - data_begin_) {
    fail("its tensors need " + std::to_string(at) + " bytes of data and it has " +
         std::to_string(file_.size() - data_begin_));
  }
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.name_hash < b.name_hash; });
  for (std::size_t i = 1; i < places.size(); ++i) {
    if (places[i].name_hash == places[i - 1].name_hash)
      fail_at(header, places[i], "the name is given twice");
  }
}

/// Walks the header once more to find the tensor's name.
inline void Safetensors::fail_at(const std::string& header, const Place& place,
                                 const std::string& why) {
  std::size_t number = 0;
  walk(
      header,
      [&](const Tensor& tensor) {
        if (number++ == place.number) fail(tensor, why);
      },
      [](const std::string&, const std::string&) {});
  fail(why);
}

}  // namespace moe
