#pragma once
#include <climits>
#include <cmath>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <moe/io/utf8.hpp>
#include <optional>

namespace moe::detail {

/// The fields of one config.json. null counts as absent, as in transformers.
class HuggingFaceFields {
 public:
  explicit HuggingFaceFields(std::string path) : path_(std::move(path)) {
    constexpr std::uint64_t limit = 1 << 20;
    if (const std::uint64_t size = FileReader(path_).size(); size > limit)
      fail("it has " + std::to_string(size) + " bytes where at most 1048576 are expected");
    constexpr std::size_t most_values = 4096;
    const std::string bytes = read_file(path_);
    json_ = parse_json(without_byte_order_mark(bytes), path_, most_values, JsonNumbers::python);
    if (!json_.is_object()) fail("it is no JSON object");
  }

  /// Refuses a field: one sentence with its name and value.
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
    // Also 1e+05 and 100000.0, which some writers make of an integer.
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
  /// Refuses a field that is there and has another value.
  void require(const std::string& key, bool wanted, const std::string& why) const {
    if (boolean(key, wanted) != wanted) refuse(key, why);
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw Error("moe: cannot use '" + path_ + "': " + why +
                "; use a checkpoint of GPT-2, Llama or Mixtral");
  }
  std::string path_;
  Json json_;
};

}  // namespace moe::detail
