#pragma once
#include <cmath>
#include <limits>
#include <moe/core/error.hpp>
#include <moe/core/format.hpp>
#include <moe/core/isa.hpp>
#include <string>
#include <string_view>
#include <type_traits>

namespace moe::inline MOE_ISA::detail {

/// Checks the options of one struct where they enter the library. All errors have one form: "moe:
/// cannot ACTION with OWNER.name = value: it must be RULE; correct the option".
/// Test: tests/core/options.cpp.
///
///     const detail::OptionCheck check{"sample", "SampleOptions"};
///     check(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "above 0 and at most 1");
struct OptionCheck {
  const char *action, *owner;

  /// Throws unless `good`. Write `good` so that it is false for NaN.
  template <class Number>
  void operator()(bool good, const char* name, Number value, std::string_view rule) const {
    if (good) return;
    throw Error("cannot ", action, " with ", owner, ".", name, " = ", text(value), ": it must be ",
                rule, "; correct the option");
  }
  template <class Integer>
  void at_least(const char* name, Integer value, Integer min) const {
    if (value < min) (*this)(false, name, value, std::to_string(min) + " or more");
  }
  /// For a number that is used in the model's type T, in which 1e39 may be infinite.
  template <class T>
  void finite(const char* name, double value) const {
    (*this)(fits<T>(value), name, value, "finite in the numbers of the model");
  }
  template <class T>
  void not_negative(const char* name, double value) const {
    (*this)(value >= 0 && fits<T>(value), name, value, "finite, 0 or more");
  }
  /// For a divisor, or a number added to one. 1e-50 is above 0 as a double, but 0 as a float.
  template <class T>
  void positive(const char* name, double value) const {
    if (value >= smallest<T>() && fits<T>(value)) return;
    (*this)(false, name, value,
            "finite and at least " + text(smallest<T>()) +
                ", the smallest number that the model's type holds in full");
  }
  /// For a share that may not be the whole: 1 is refused.
  void below_one(const char* name, double value) const {
    (*this)(value >= 0 && value < 1, name, value, "in [0, 1)");
  }

  template <class T>
  static bool fits(double value) {
    return std::abs(value) <= double(std::numeric_limits<Real<T>>::max());
  }
  template <class T>
  static constexpr double smallest() {
    return double(std::numeric_limits<Real<T>>::min());
  }

 private:
  /// A number type of the user is assumed to have the range of double.
  template <class T>
  using Real = std::conditional_t<std::is_floating_point_v<T>, T, double>;

  template <class Number>
  static std::string text(Number value) {
    if constexpr (std::is_floating_point_v<Number>) {
      const double size = std::abs(double(value));
      if (size > 0 && (size < 1e-3 || size >= 1e9))  // six decimals would not show it
        return format("%g", double(value));
    }
    return std::to_string(value);
  }
};

}  // namespace moe::detail
