#pragma once
#include <climits>
#include <cmath>
#include <moe/core/config.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <moe/io/utf8.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace moe::inline MOE_ISA {

/// The fields of one config.json, read strictly. As in transformers, a null field counts as absent.
/// Errors: moe::Error with the file, the field and its value; ends with `hint`.
/// Test: tests/checkpoint/hugging_face.cpp.
///
///     const moe::HuggingFaceFields fields("smollm/config.json", "use a checkpoint of Llama");
///     const int layers = fields.integer("num_hidden_layers");
class HuggingFaceFields {
 public:
  HuggingFaceFields(std::string path, std::string hint)
      : path_(std::move(path)), hint_(std::move(hint)) {
    constexpr std::uint64_t limit = 1 << 20;
    if (const std::uint64_t size = FileReader(path_).size(); size > limit)
      fail("it has " + std::to_string(size) + " bytes where at most 1048576 are expected");
    constexpr std::size_t most_values = 4096;
    const std::string bytes = read_file(path_);
    json_ = parse_json(without_byte_order_mark(bytes), path_, most_values, JsonNumbers::python);
    if (!json_.is_object()) fail("it is no JSON object");
  }

  /// Throws an error with the name and value of a field.
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const {
    const Json* value = find(key);
    std::string shown = value ? value->dump() : "missing";
    if (shown.size() > 100) shown = "a long value";
    fail(key + " is " + shown + " " + why);
  }
  const Json* find(const std::string& key) const {
    const Json* value = json_.find(key);
    return value && !value->is_null() ? value : nullptr;
  }

  int integer(const std::string& key, std::optional<int> fallback = {}) const {
    const Json* value = find(key);
    if (!value && fallback) return *fallback;
    // Accepts 1e+05 and 100000.0 too, which some writers make of an integer.
    const double number = value && value->is_number() ? value->as_double(key) : 0;
    if (!(number >= 1 && number <= INT_MAX) || number != std::floor(number))
      refuse(key, "where an integer from 1 on is expected");
    return int(number);
  }
  double number(const std::string& key, double fallback) const {
    const Json* value = find(key);
    if (!value) return fallback;
    if (!value->is_number()) refuse(key, "where a number is expected");
    return value->as_double(key);
  }
  double positive(const std::string& key, double fallback) const {
    const double value = number(key, fallback);
    if (!(value > 0)) refuse(key, "where a number above 0 is expected");
    return value;
  }
  bool boolean(const std::string& key, bool fallback) const {
    const Json* value = find(key);
    if (!value) return fallback;
    if (!value->is_bool()) refuse(key, "where true or false is expected");
    return value->as_bool(key);
  }
  std::string text(const std::string& key, const std::string& fallback) const {
    const Json* value = find(key);
    if (!value) return fallback;
    if (!value->is_string()) refuse(key, "where a text is expected");
    return value->as_string(key);
  }
  /// Throws if a field exists and has another value.
  void require(const std::string& key, bool wanted, const std::string& why) const {
    if (boolean(key, wanted) != wanted) refuse(key, why);
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw Error("cannot use '", path_, "': ", why, "; ", hint_);
  }
  std::string path_, hint_;
  Json json_;
};

namespace detail {

/// The Hugging Face name of an activation. If an activation has several names, the first is
/// written. In gated feed-forwards the name denotes the gated form.
struct ActivationName {
  Activation activation;
  std::string_view name;
};
inline constexpr ActivationName activation_names[] = {
    {Activation::gelu, "gelu"},           {Activation::geglu, "gelu"},
    {Activation::silu, "silu"},           {Activation::silu, "swish"},
    {Activation::swiglu, "silu"},         {Activation::swiglu, "swish"},
    {Activation::gelu_tanh, "gelu_new"},  {Activation::gelu_tanh, "gelu_pytorch_tanh"},
    {Activation::gelu_tanh, "gelu_fast"}, {Activation::relu_squared, "relu2"},
};

inline Activation activation_of(const HuggingFaceFields& fields, const std::string& key,
                                const std::string& fallback, bool gated) {
  const std::string name = fields.text(key, fallback);
  for (const ActivationName& known : activation_names)
    if (known.name == name && is_gated(known.activation) == gated) return known.activation;
  fields.refuse(key, "and this activation is not supported");
}

inline std::string_view hugging_face_name(Activation activation) {
  for (const ActivationName& known : activation_names)
    if (known.activation == activation) return known.name;
  MOE_EXPECTS(false, "an activation has no name in activation_names");
  return {};
}

/// The base of the rotary angles, in the spelling of transformers 4 (rope_theta, rope_scaling) or 5
/// (rope_parameters). Any other than plain rotary positions is rejected.
inline double rope_base_of(const HuggingFaceFields& fields, double fallback) {
  std::optional<double> base;
  const auto take = [&](const std::string& key, double value) {
    if (!(value > 0)) fields.refuse(key, "where a rope_theta above 0 is expected");
    if (base.value_or(value) != value)
      fields.refuse(key, "and another field gives another rope_theta");
    base = value;
  };
  if (fields.find("rope_theta")) take("rope_theta", fields.number("rope_theta", 0));
  const auto whole = [&](const std::string& key, const Json& value) {
    if (!value.is_number() || value.as_double(key) != 1)
      fields.refuse(key, "and positions that turn a part of each head are not supported");
  };
  if (const Json* part = fields.find("partial_rotary_factor"))
    whole("partial_rotary_factor", *part);
  for (const std::string key : {"rope_parameters", "rope_scaling"}) {
    const Json* rope = fields.find(key);
    if (!rope) continue;
    if (!rope->is_object()) fields.refuse(key, "where an object is expected");
    for (const auto& [name, value] : rope->members(key)) {
      if (value.is_null()) continue;
      if (name == "rope_theta") {
        take(key, value.is_number() ? value.as_double(key) : 0);
      } else if (name == "partial_rotary_factor") {
        whole(key, value);
      } else if (value.is_object() ||
                 ((name == "rope_type" || name == "type") && !(value == Json("default")))) {
        fields.refuse(key, "and of rotary positions only those of type default are supported");
      }
    }
  }
  return base.value_or(fallback);
}

}  // namespace detail
}  // namespace moe
