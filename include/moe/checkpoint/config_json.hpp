#pragma once
#include <cmath>
#include <limits>
#include <moe/core/enum_names.hpp>
#include <moe/io/json.hpp>
#include <moe/tree/fields.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// Structs of numbers (ModelConfig, Options, settings, cursors) as JSON, by reflection: a new field
// is saved, loaded and compared without being listed anywhere.

namespace moe {

namespace detail {

/// One copy of the code for all fields of a kind.
template <class T>
[[gnu::noinline]] void put(Json& object, std::string_view name, T value) {
  object[name] = std::move(value);
}

}  // namespace detail

/// Aggregates as objects, enumerators as their names, numbers and strings as they are.
/// Test: tests/checkpoint/config_json.cpp.
template <class T>
Json to_json(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return enum_name(value);
  } else if constexpr (std::is_arithmetic_v<T> || std::is_convertible_v<T, std::string>) {
    return value;
  } else {
    Json json = Json::object();
    const auto put_field = [&](std::string_view name, const auto& field) {
      if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(field)>>) {
        detail::put(json, name, double(field));
      } else if constexpr (std::is_same_v<decltype(field), const int&>) {
        detail::put(json, name, std::int64_t(field));
      } else if constexpr (std::is_enum_v<std::remove_cvref_t<decltype(field)>>) {
        detail::put(json, name, std::string(enum_name(field)));
      } else {
        detail::put(json, name, to_json(field));
      }
    };
    for_each_named_field(put_field, value);
    return json;
  }
}

/// Reads back what to_json wrote; `what` names the value in errors ("manifest.cursor").
/// Errors: a field is missing, of another type or out of range; `value` may be half read then.
template <class T>
void from_json(T& value, const Json& json, const std::string& what) {
  const auto refuse = [&](const std::string& why) {
    throw Error("cannot use field '" + what + "': " + why + "; check the file that holds it");
  };
  if constexpr (std::is_enum_v<T>) {
    const std::string& name = json.as_string(what);
    const std::optional<T> known = find_enum<T>(name);
    if (!known) refuse("'" + name + "' is not one of its values");
    value = *known;
  } else if constexpr (std::is_same_v<T, bool>) {
    value = json.as_bool(what);
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    value = json.as_uint(what);
  } else if constexpr (std::is_integral_v<T>) {
    const std::int64_t number = json.as_int(what);
    if (!std::in_range<T>(number)) refuse(std::to_string(number) + " does not fit its type");
    value = static_cast<T>(number);
  } else if constexpr (std::is_floating_point_v<T>) {
    // JSON has neither infinity nor NaN: to_json writes null. It is what the field can be: a number
    // that is not known where it is one without the file, else no limit.
    if (!json.is_null()) {
      value = T(json.as_double(what));
    } else if (!std::isnan(value)) {
      value = std::numeric_limits<T>::infinity();
    }
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = json.as_string(what);
  } else {
    for_each_named_field(
        [&](std::string_view name, auto& field) {
          from_json(field, json.at(name, what), what + "." + std::string(name));
        },
        value);
  }
}

/// A field that two JSON objects do not agree on: "moe.experts", "8", "4"; "" where it is absent.
struct Difference {
  std::string field, first, second;
};

namespace detail {
inline void add_differences(const Json& first, const Json& second, const std::string& path,
                            std::vector<Difference>& found) {
  const auto inside = [&](const std::string& name) {
    return path.empty() ? name : path + "." + name;
  };
  if (first.is_object() && second.is_object()) {
    for (const auto& [name, value] : first.members(path)) {
      if (const Json* other = second.find(name)) {
        add_differences(value, *other, inside(name), found);
      } else {
        found.push_back({inside(name), value.dump(), ""});
      }
    }
    for (const auto& [name, value] : second.members(path))
      if (!first.find(name)) found.push_back({inside(name), "", value.dump()});
  } else if (!(first == second)) {
    found.push_back({path, first.dump(), second.dump()});
  }
}
}  // namespace detail

/// The leaves in which two objects differ, fields of the first one first.
inline std::vector<Difference> differences(const Json& first, const Json& second) {
  std::vector<Difference> found;
  detail::add_differences(first, second, "", found);
  return found;
}

}  // namespace moe
