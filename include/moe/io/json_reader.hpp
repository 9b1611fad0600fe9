#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <moe/core/error.hpp>
#include <moe/io/foreign_file.hpp>
#include <moe/io/utf8.hpp>
#include <string>
#include <string_view>
#include <system_error>

namespace moe::inline MOE_ISA {

/// A number in JSON text. `kind` tells which of the three values holds it.
struct JsonNumber {
  enum class Kind { signed_integer, unsigned_integer, real } kind;
  std::int64_t signed_value = 0;     // integers that fit int64
  std::uint64_t unsigned_value = 0;  // integers above INT64_MAX
  double real_value = 0;             // fraction, exponent, -0, or beyond 64 bits
};

/// The numbers that a text may contain: those of JSON, or also NaN, Infinity and -Infinity, which
/// Python's json module reads and writes.
enum class JsonNumbers { strict, python };

/// Reads strict JSON (RFC 8259) without building a tree, so that hostile text costs no memory.
/// Rejects invalid UTF-8, NaN, leading zeros, comments, trailing commas, control characters in
/// strings, lone surrogates, numbers beyond double, nesting deeper than 128, and text after the
/// value.
/// Errors: moe::Error with `what`, the byte and the reason.  Test: tests/io/json.cpp.
///
///     JsonReader reader(text, "config.json");
///     reader.each_member([&](const std::string& name) { reader.skip(); });
///     reader.finish();
class JsonReader {
 public:
  static constexpr int max_depth = 128;

  JsonReader(std::string_view text, std::string_view what,
             JsonNumbers numbers = JsonNumbers::strict)
      : text_(text), what_(what), numbers_(numbers) {
    detail::refuse_foreign(text, what);
    at_ = find_invalid_utf8(text);
    if (at_ != std::string_view::npos) fail("the text is not valid UTF-8");
    at_ = 0;
  }

  /// The first character of the next value, or 0 at the end of the text.
  char peek() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  /// Calls f(name) for each member of an object. f must read or skip the value.
  template <class F>
  void each_member(F&& f) {
    each('{', '}', [&] {
      if (peek() != '"') fail("a name in double quotes is expected");
      std::string name = string();
      expect(':', "':' is expected after the name");
      f(std::move(name));
    });
  }

  /// Calls f() for each item of an array. f must read or skip the item.
  template <class F>
  void each_item(F&& f) {
    each('[', ']', f);
  }

  /// Consumes `word` (null, true, false) if it comes next.
  bool accept(std::string_view word) {
    peek();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  std::string string();
  JsonNumber number();
  /// The text of the next value, of any type, after checking it.
  std::string_view raw() {
    peek();
    const std::size_t begin = at_;
    skip();
    return text_.substr(begin, at_ - begin);
  }

  /// Skips one value of any type, with all checks.
  void skip() {
    std::size_t any = SIZE_MAX;
    skip(any);
  }
  /// Skips one value and subtracts the number of its values, including nested ones, from `left`.
  /// Throws if `left` is too small.
  void skip(std::size_t& left) {
    if (left-- == 0) fail("it has more values than expected");
    switch (peek()) {
      case '{':
        return each_member([&](const std::string&) { skip(left); });
      case '[':
        return each_item([&] { skip(left); });
      case '"':
        return void(string());
      default:
        if (!accept("null") && !accept("true") && !accept("false")) number();
    }
  }

  /// Checks that only white space follows.
  void finish() {
    peek();
    if (at_ != text_.size()) fail("there is text after the end of the value");
  }

  /// Throws, with the current position.
  [[noreturn]] void fail(const std::string& why) const {
    throw Error("cannot read ", what_, " as JSON: ", why, " at byte ", at_,
                "; the file is damaged or not of this format");
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  void expect(char c, const char* why) {
    if (peek() != c) fail(why);
    ++at_;
  }

  template <class F>
  void each(char open, char close, F&& f) {
    expect(open, open == '{' ? "an object is expected" : "an array is expected");
    if (++depth_ > max_depth) fail("values are nested more than 128 deep");
    if (peek() != close) {
      for (;;) {
        f();
        if (peek() != ',') break;
        ++at_;
      }
    }
    expect(close, open == '{' ? "',' or '}' is expected" : "',' or ']' is expected");
    --depth_;
  }

  std::int32_t hex4() {
    std::int32_t value = 0;
    if (text_.size() - at_ < 4) fail("a \\u escape is cut off");
    const char* first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, first + 4, value, 16);
    if (error != std::errc() || end != first + 4 || value < 0 || *first == '-') {
      fail("a \\u escape needs four hexadecimal digits");
    }
    at_ += 4;
    return value;
  }

  void escape(std::string& out);

  /// The number of bytes to the quote that closes the string, or to the end of the text.
  std::size_t bytes_to_quote() const {
    std::size_t end = at_;
    while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
    return std::min(end, text_.size()) - at_;
  }

  std::string_view text_, what_;
  JsonNumbers numbers_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

inline std::string JsonReader::string() {
  expect('"', "a string is expected");
  std::string out;
  for (bool first = true;; first = false) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
           static_cast<unsigned char>(text_[at_]) >= 0x20) {
      ++at_;
    }
    // Without reserve, repeated growth could take three times the memory of the text.
    if (first && at_ < text_.size() && text_[at_] == '\\')
      out.reserve(at_ - begin + bytes_to_quote());
    out.append(text_, begin, at_ - begin);
    if (at_ == text_.size()) fail("a string is not closed");
    if (text_[at_] == '"') {
      ++at_;
      return out;
    }
    if (text_[at_] != '\\') fail("a control character is not escaped");
    ++at_;
    escape(out);
  }
}

inline void JsonReader::escape(std::string& out) {
  static constexpr std::string_view letters = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
  const char c = at_ < text_.size() ? text_[at_] : '\0';
  if (const std::size_t i = letters.find(c); c != '\0' && i != std::string_view::npos) {
    ++at_;
    out += meant[i];
    return;
  }
  if (c != 'u') fail("an unknown escape follows a backslash");
  ++at_;
  std::int32_t point = hex4();
  if (point >= 0xD800 && point <= 0xDFFF) {
    const bool pair = point < 0xDC00 && text_.substr(at_, 2) == "\\u";
    if (pair) at_ += 2;
    const std::int32_t low = pair ? hex4() : 0;
    if (low < 0xDC00 || low > 0xDFFF) fail("a surrogate stands alone");
    point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
  }
  append_code_point(out, point);
}

inline JsonNumber JsonReader::number() {
  if (numbers_ == JsonNumbers::python) {
    using Limits = std::numeric_limits<double>;
    const auto real = [](double value) {
      return JsonNumber{.kind = JsonNumber::Kind::real, .real_value = value};
    };
    if (accept("NaN")) return real(Limits::quiet_NaN());
    if (accept("Infinity")) return real(Limits::infinity());
    if (accept("-Infinity")) return real(-Limits::infinity());
  }
  if (peek() != '-' && !is_digit(peek())) fail("a value is expected");
  const std::size_t begin = at_;
  const auto digit = [&] { return at_ < text_.size() && is_digit(text_[at_]); };
  const auto digits = [&] {
    if (!digit()) fail("a digit is expected in the number");
    while (digit()) ++at_;
  };
  const auto next_is = [&](char a, char b) {
    return at_ < text_.size() && (text_[at_] == a || text_[at_] == b);
  };
  if (text_[at_] == '-') ++at_;
  if (next_is('0', '0')) {
    ++at_;
    if (digit()) fail("a number has a leading zero");
  } else {
    digits();
  }
  bool integer = true;
  if (next_is('.', '.')) ++at_, integer = false, digits();
  if (next_is('e', 'E')) {
    ++at_, integer = false;
    if (next_is('+', '-')) ++at_;
    digits();
  }
  const std::string_view token = text_.substr(begin, at_ - begin);
  const char *first = token.data(), *last = first + token.size();
  JsonNumber out{};
  if (integer && token != "-0") {
    out.kind = JsonNumber::Kind::signed_integer;
    if (std::from_chars(first, last, out.signed_value).ec == std::errc()) return out;
    out.kind = JsonNumber::Kind::unsigned_integer;
    if (std::from_chars(first, last, out.unsigned_value).ec == std::errc()) return out;
  }
  out.kind = JsonNumber::Kind::real;
  if (std::from_chars(first, last, out.real_value).ec != std::errc()) {
    fail("a number is outside of the range of double");
  }
  return out;
}

}  // namespace moe
