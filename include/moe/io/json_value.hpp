#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <moe/core/error.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace moe::inline MOE_ISA {

/// The value of a number that is not known (not measured, not evaluated). Written as null in JSON
/// and as a word in text, never as 0.
inline constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

/// A JSON value. Objects keep the order of insertion; 64-bit integers stay exact.
///
///     Json json;
///     json["step"] = 100;
///     json["loss"]["validation"] = 1.5;
///     json.dump(2);                                          // indented text
///     parse_json(text, "manifest.json").at("step").as_int("manifest.step");
///
/// Errors: at() and as_...() throw moe::Error that names the field.  Test: tests/io/json.cpp.
class Json {
 public:
  using Member = std::pair<std::string, Json>;
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;

  Json() = default;
  Json(std::nullptr_t) {}
  template <std::same_as<bool> T>
  Json(T value) : value_(value) {}
  template <std::signed_integral T>
  Json(T value) : value_(static_cast<std::int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Json(T value) {
    if (value <= static_cast<std::uint64_t>(INT64_MAX)) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      value_ = static_cast<std::uint64_t>(value);
    }
  }
  template <std::floating_point T>
  Json(T value) : value_(static_cast<double>(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(Array items) : value_(std::move(items)) {}
  Json(Object members) : value_(std::move(members)) {}
  template <class T>
  requires(!std::same_as<T, Json>) Json(const std::vector<T>& items)
      : value_(Array(items.begin(), items.end())) {}

  static Json array() { return Array{}; }
  static Json object() { return Object{}; }

  bool is_null() const { return is<std::monostate>(); }
  bool is_bool() const { return is<bool>(); }
  bool is_integer() const { return is<std::int64_t>() || is<std::uint64_t>(); }
  bool is_number() const { return is_integer() || is<double>(); }
  bool is_string() const { return is<std::string>(); }
  bool is_array() const { return is<Array>(); }
  bool is_object() const { return is<Object>(); }

  /// The value as a C++ type. Throws if it has another type; `what` names the field
  /// ("manifest.step").
  bool as_bool(std::string_view what) const;
  std::int64_t as_int(std::string_view what) const;
  std::uint64_t as_uint(std::string_view what) const;
  double as_double(std::string_view what) const;
  const std::string& as_string(std::string_view what) const;
  const Array& items(std::string_view what) const;
  const Object& members(std::string_view what) const;

  /// The member `name`. Adds it (as null) if it is absent; a null value first becomes an object.
  Json& operator[](std::string_view name);
  /// The member `name`, or nullptr. Of duplicate names the last one.
  const Json* find(std::string_view name) const;
  /// The member `name`.  Errors: it is absent, or this is not an object.
  const Json& at(std::string_view name, std::string_view what = "JSON object") const;
  /// Appends an item. A null value first becomes an array.
  void push_back(Json item);

  /// JSON text, compact or with `indent` spaces per level. Doubles round-trip and are written as
  /// Python writes them (100000.0, 0.0001, 1e-05, 1e+16), which some readers rely on. NaN and
  /// infinities have no JSON form and are written as null.
  std::string dump(int indent = 0) const;

  friend bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }

 private:
  template <class T>
  bool is() const {
    return std::holds_alternative<T>(value_);
  }
  template <class T>
  const T& get(std::string_view what, const char* wanted) const;
  const char* type_name() const;
  void append_to(std::string& out, int indent, int level) const;

  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array,
               Object>
      value_;
};

inline const char* Json::type_name() const {
  static constexpr const char* names[] = {"null",     "a boolean", "an integer", "an integer",
                                          "a number", "a string",  "an array",   "an object"};
  return names[value_.index()];
}

template <class T>
const T& Json::get(std::string_view what, const char* wanted) const {
  if (const T* value = std::get_if<T>(&value_)) return *value;
  throw Error("cannot use field '", what, "': it is ", type_name(), " where ", wanted,
              " is expected; check the file that holds it");
}

inline bool Json::as_bool(std::string_view what) const {
  return get<bool>(what, "a boolean");
}
inline std::int64_t Json::as_int(std::string_view what) const {
  return get<std::int64_t>(what, "an integer of 64 bits with sign");
}
inline std::uint64_t Json::as_uint(std::string_view what) const {
  if (const auto* value = std::get_if<std::int64_t>(&value_)) {
    if (*value >= 0) return static_cast<std::uint64_t>(*value);
    throw Error("cannot use field '", what, "': it is ", *value,
                " where a number of 0 or more is expected; check the file that holds it");
  }
  return get<std::uint64_t>(what, "an integer of 0 or more");
}
inline double Json::as_double(std::string_view what) const {
  if (const auto* value = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*value);
  return get<double>(what, "a number");
}
inline const std::string& Json::as_string(std::string_view what) const {
  return get<std::string>(what, "a string");
}
inline const Json::Array& Json::items(std::string_view what) const {
  return get<Array>(what, "an array");
}
inline const Json::Object& Json::members(std::string_view what) const {
  return get<Object>(what, "an object");
}

inline Json& Json::operator[](std::string_view name) {
  if (is_null()) value_.emplace<Object>();
  MOE_EXPECTS(is_object(), "Json[\"", name, "\"] used on ", type_name());
  auto& object = std::get<Object>(value_);
  for (auto member = object.rbegin(); member != object.rend(); ++member) {
    if (member->first == name) return member->second;
  }
  return object.emplace_back(std::string(name), Json()).second;
}

inline const Json* Json::find(std::string_view name) const {
  const auto* object = std::get_if<Object>(&value_);
  if (object == nullptr) return nullptr;
  for (auto member = object->rbegin(); member != object->rend(); ++member) {
    if (member->first == name) return &member->second;
  }
  return nullptr;
}

inline const Json& Json::at(std::string_view name, std::string_view what) const {
  members(what);
  if (const Json* value = find(name)) return *value;
  throw Error("cannot find field '", name, "' in ", what,
              ": it is missing; check the file that holds it");
}

inline void Json::push_back(Json item) {
  if (is_null()) value_.emplace<Array>();
  MOE_EXPECTS(is_array(), "Json::push_back used on ", type_name());
  std::get<Array>(value_).push_back(std::move(item));
}

}  // namespace moe
