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

// Structs of numbers (ModelConfig, Options, settings, TrainState) as JSON, by reflection: a new
// field is saved, loaded and compared without being listed anywhere.

namespace moe::inline MOE_ISA {

namespace detail {

/// Never inlined: a task inlined into both the serial and the parallel loop may get different FMA
/// contraction, and results would depend on the number of threads.
template <class T>
[[gnu::noinline]] void put(Json& object, std::string_view name, T value) {
  object[name] = std::move(value);
}

}  // namespace detail

/// Converts aggregates to objects, enumerators to their names, and numbers and strings to
/// themselves.
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

/// Reads back what to_json wrote. `what` names the value in errors ("manifest.cursor").
/// Errors: moe::Error if a field is missing, of another type or out of range; `value` may be partly
/// read then.
template <class T>
void from_json(T& value, const Json& json, const std::string& what) {
  const auto refuse = [&](const std::string& why) {
    throw Error("cannot use field '", what, "': ", why, "; check the file that holds it");
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
    // JSON has neither infinity nor NaN; to_json writes both as null. Here null leaves a field that
    // is NaN (not known) as it is, and makes any other field infinite (no limit).
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

/// A field in which two JSON objects differ: "moe.experts", "8", "4". The value is "" if the field
/// is absent.
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

/// The leaves in which two objects differ; fields of the first object come first.
inline std::vector<Difference> differences(const Json& first, const Json& second) {
  std::vector<Difference> found;
  detail::add_differences(first, second, "", found);
  return found;
}

}  // namespace moe
