#pragma once
#include <cstddef>
#include <cstdint>
#include <moe/core/enum_names.hpp>
#include <moe/io/dtype.hpp>
#include <moe/io/json_reader.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moe::inline MOE_ISA {

/// One tensor as the header of a safetensors file describes it.
struct SafetensorsTensor {
  std::string name;
  Dtype dtype = Dtype::F32;
  std::vector<std::size_t> shape;
  std::uint64_t begin = 0, end = 0;  // in bytes after the header

  std::size_t elements() const {
    return static_cast<std::size_t>((end - begin) * 8) / static_cast<std::size_t>(bits_of(dtype));
  }
};

namespace detail {

/// Why the bytes of a tensor are not where they must be.
template <class Range>
std::string out_of_place(const Range& range) {
  return "its bytes " + std::to_string(range.begin) + " to " + std::to_string(range.end) +
         " do not follow the tensor before it";
}

/// Reads what follows the name of a tensor in the header.
/// Errors: through the reader, for a field that is missing, unknown or out of range.
inline SafetensorsTensor read_tensor_entry(JsonReader& reader, std::string name) {
  constexpr std::size_t max_rank = 8;
  SafetensorsTensor tensor;
  tensor.name = std::move(name);
  const auto integer = [&] {
    const JsonNumber number = reader.number();
    if (number.kind == JsonNumber::Kind::unsigned_integer) return number.unsigned_value;
    const bool good = number.kind == JsonNumber::Kind::signed_integer && number.signed_value >= 0;
    if (!good)
      reader.fail("a size of tensor " + in_quotes(tensor.name) + " is no integer of 0 or more");
    return static_cast<std::uint64_t>(number.signed_value);
  };
  int dtype_seen = 0, shape_seen = 0, offsets_seen = 0;
  reader.each_member([&](const std::string& field) {
    if (field == "dtype") {
      ++dtype_seen;
      const std::string wanted = reader.string();
      const std::optional<Dtype> known = find_enum<Dtype>(wanted);
      if (!known) reader.fail("element type " + in_quotes(wanted) + " is unknown");
      tensor.dtype = *known;
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
    reader.fail("tensor " + in_quotes(tensor.name) +
                " needs dtype, shape and data_offsets once each");
  }
  return tensor;
}

}  // namespace detail
}  // namespace moe
