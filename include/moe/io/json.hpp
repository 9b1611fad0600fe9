#pragma once
#include <charconv>
#include <cmath>
#include <moe/io/json_reader.hpp>
#include <moe/io/json_value.hpp>
#include <string>
#include <string_view>
#include <utility>

// JSON values as text, and back.

namespace moe::inline MOE_ISA {

/// Parses a whole JSON text (strict: see JsonReader; duplicate names are rejected). The tree can
/// take 60 times the memory of its text. For files of unknown origin give `max_values`: a text with
/// more values is rejected before the first value is built.
/// Errors: moe::Error with `what`, the byte and the reason.
Json parse_json(std::string_view text, std::string_view what = "JSON text",
                std::size_t max_values = SIZE_MAX, JsonNumbers numbers = JsonNumbers::strict);

namespace detail {

inline void append_json_string(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef", letters[] = "btn-fr";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte >= 8 && byte <= 13 && byte != 11) {
      out += {'\\', letters[byte - 8]};
    } else if (byte < 0x20) {
      out += {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    } else {
      out += c;
    }
  }
  out += '"';
}

template <class T>
void append_json_number(std::string& out, T value) {
  if constexpr (std::floating_point<T>) {
    if (!std::isfinite(value)) return void(out += "null");
  }
  char text[32];
  const char* end = nullptr;
  if constexpr (std::floating_point<T>) {
    const T size = std::abs(value);
    const bool plain = size == 0 || (size >= T(1e-4) && size < T(1e16));
    const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
    end = std::to_chars(text, text + sizeof text, value, format).ptr;
  } else {
    end = std::to_chars(text, text + sizeof text, value).ptr;
  }
  const std::string_view digits(text, static_cast<std::size_t>(end - text));
  out += digits;
  // so that it is read back as a double
  if constexpr (std::floating_point<T>) {
    if (digits.find_first_of(".e") == std::string_view::npos) out += ".0";
  }
}

inline void reject_duplicates(const Json::Object& members, const JsonReader& reader) {
  std::vector<std::string_view> names;
  names.reserve(members.size());
  for (const auto& member : members) names.push_back(member.first);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) reader.fail("name " + in_quotes(*twice) + " is given twice");
}

inline Json read_json_value(JsonReader& reader) {
  switch (reader.peek()) {
    case '{': {
      Json::Object members;
      reader.each_member([&](std::string name) {
        members.emplace_back(std::move(name), read_json_value(reader));
      });
      reject_duplicates(members, reader);
      return members;
    }
    case '[': {
      Json::Array items;
      reader.each_item([&] { items.push_back(read_json_value(reader)); });
      return items;
    }
    case '"':
      return reader.string();
    default:
      break;
  }
  if (reader.accept("null")) return {};
  if (reader.accept("true")) return true;
  if (reader.accept("false")) return false;
  const JsonNumber number = reader.number();
  if (number.kind == JsonNumber::Kind::signed_integer) return number.signed_value;
  if (number.kind == JsonNumber::Kind::unsigned_integer) return number.unsigned_value;
  return number.real_value;
}

}  // namespace detail

inline void Json::append_to(std::string& out, int indent, int level) const {
  const auto new_line = [&](int depth) {
    if (indent > 0)
      out.append(1, '\n').append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(depth),
                                 ' ');
  };
  const auto list = [&](const auto& elements, char open, char close, auto&& append_element) {
    out += open;
    for (const auto& element : elements) {
      if (&element != elements.data()) out += ',';
      new_line(level + 1);
      append_element(element);
    }
    if (!elements.empty()) new_line(level);
    out += close;
  };
  const auto append = [&](const auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::same_as<T, std::monostate>) {
      out += "null";
    } else if constexpr (std::same_as<T, bool>) {
      out += value ? "true" : "false";
    } else if constexpr (std::same_as<T, std::string>) {
      detail::append_json_string(out, value);
    } else if constexpr (std::same_as<T, Array>) {
      list(value, '[', ']', [&](const Json& item) { item.append_to(out, indent, level + 1); });
    } else if constexpr (std::same_as<T, Object>) {
      list(value, '{', '}', [&](const Member& member) {
        detail::append_json_string(out, member.first);
        out += indent > 0 ? ": " : ":";
        member.second.append_to(out, indent, level + 1);
      });
    } else {
      detail::append_json_number(out, value);
    }
  };
  std::visit(append, value_);
}

inline std::string Json::dump(int indent) const {
  std::string out;
  append_to(out, indent, 0);
  return out;
}

inline Json parse_json(std::string_view text, std::string_view what, std::size_t max_values,
                       JsonNumbers numbers) {
  // Every value but the first follows one of these characters (outside of strings).
  const auto precedes = [](char c) { return c == ',' || c == '[' || c == '{'; };
  if (static_cast<std::size_t>(std::count_if(text.begin(), text.end(), precedes)) >= max_values) {
    JsonReader values(text, what, numbers);
    values.skip(max_values);
  }
  JsonReader reader(text, what, numbers);
  Json json = detail::read_json_value(reader);
  reader.finish();
  return json;
}

}  // namespace moe
