#pragma once
#include <algorithm>
#include <map>
#include <moe/io/dtype.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

inline constexpr std::uint64_t max_safetensors_header = 100'000'000;

/// A tensor in memory to be saved. It owns only its description.
struct TensorView {
  std::string name;
  Dtype dtype = Dtype::F32;
  std::vector<std::size_t> shape;  // row-major; {} is a scalar
  const void* data = nullptr;
};

/// A view of `data` with the element type of T.
template <class T>
TensorView tensor_view(std::string name, std::vector<std::size_t> shape, const T* data) {
  return {std::move(name), dtype_of<T>(), std::move(shape), data};
}

/// The size of a tensor in bits, or nothing if it overflows 64 bits. Extents are multiplied in the
/// order of the reference implementation, left to right, so that a leading 0 keeps the product 0.
inline std::optional<std::uint64_t> checked_bits(Dtype dtype,
                                                 const std::vector<std::size_t>& shape) {
  std::uint64_t bits = 1;
  for (const std::size_t extent : shape) {
    if (__builtin_mul_overflow(bits, extent, &bits)) return std::nullopt;
  }
  if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(bits_of(dtype)), &bits)) {
    return std::nullopt;
  }
  return bits;
}

/// The first bytes of a safetensors file (length and JSON header), and the order and byte sizes of
/// the tensors that follow.
struct SafetensorsHeader {
  std::string bytes;
  std::vector<const TensorView*> order;
  std::vector<std::size_t> sizes;
};

/// The header of a file with these tensors, which must outlive it. The bytes equal those of the
/// reference writer: tensors sorted by element type, widest first, then by name; header padded to a
/// multiple of 8 bytes.
/// Errors: moe::Error for two tensors with one name, a name that is not UTF-8, or a header above
/// 100 MB.
/// Source: huggingface/safetensors src/tensor.rs.  Test: tests/io/safetensors.cpp.
inline SafetensorsHeader safetensors_header(const std::vector<TensorView>& tensors,
                                            const std::map<std::string, std::string>& metadata) {
  SafetensorsHeader file;
  auto& [begin, order, sizes] = file;
  for (const TensorView& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorView* a, const TensorView* b) {
    return a->dtype != b->dtype ? a->dtype > b->dtype : a->name < b->name;
  });
  Json::Object header;
  if (!metadata.empty()) {
    Json entries;
    for (const auto& [key, value] : metadata) {
      if (find_invalid_utf8(key + value) != std::string::npos) {
        throw Error("cannot save metadata '", key, "': it is not UTF-8; give plain text");
      }
      entries[key] = value;
    }
    header.emplace_back("__metadata__", std::move(entries));
  }
  const auto fail = [](const TensorView& tensor, const char* why) {
    throw Error("cannot save tensor '", tensor.name, "': ", why, "; rename or reshape it");
  };
  std::vector<std::string_view> names;
  std::uint64_t at = 0;
  for (const TensorView* tensor : order) {
    const std::optional<std::uint64_t> bits = checked_bits(tensor->dtype, tensor->shape);
    if (!bits || *bits % 8 != 0) fail(*tensor, "its shape has no size in whole bytes");
    if (tensor->name == "__metadata__") fail(*tensor, "the format reserves this name");
    if (find_invalid_utf8(tensor->name) != std::string::npos) fail(*tensor, "it is not UTF-8");
    names.push_back(tensor->name);
    sizes.push_back(*bits / 8);
    Json entry;
    entry["dtype"] = enum_name(tensor->dtype);
    entry["shape"] = tensor->shape;
    entry["data_offsets"] = std::vector<std::uint64_t>{at, at + sizes.back()};
    at += sizes.back();
    header.emplace_back(tensor->name, std::move(entry));
  }
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    throw Error("cannot save tensor '", *twice, "': two tensors have this name; rename one");
  }
  std::string text = Json(std::move(header)).dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t bytes = text.size();
  if (bytes > max_safetensors_header) {
    throw Error("cannot save ", tensors.size(),
                " tensors: their header is larger than 100 MB; save fewer or shorter names");
  }
  begin.assign(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  begin += text;
  return file;
}

/// Calls write(data, bytes) repeatedly with the bytes of a safetensors file.  Errors: as
/// safetensors_header.
template <class Write>
void write_safetensors(Write&& write, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const SafetensorsHeader header = safetensors_header(tensors, metadata);
  write(static_cast<const void*>(header.bytes.data()), header.bytes.size());
  for (std::size_t i = 0; i < header.order.size(); ++i)
    if (header.sizes[i] > 0) write(header.order[i]->data, header.sizes[i]);
}

/// Saves tensors to a file, all or nothing. The library transformers requires the metadata
/// {"format": "pt"}.
///
///     moe::save_safetensors("a.safetensors", {moe::tensor_view("w", {2, 3}, w.data())});
///
/// Errors: as write_safetensors and replace_file.
inline void save_safetensors(const std::string& path, const std::vector<TensorView>& tensors,
                             const std::map<std::string, std::string>& metadata = {
                                 {"format", "pt"}}) {
  replace_file(path, [&](FileWriter& file) {
    const auto write = [&](const void* data, std::size_t size) { file.write(data, size); };
    write_safetensors(write, tensors, metadata);
  });
}

}  // namespace moe
