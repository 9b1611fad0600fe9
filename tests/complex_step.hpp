#pragma once
#include <cmath>

namespace moe::test {

/// A complex number for derivatives: f(v + ih) with h = 1e-30 carries f'(v) h in its imaginary
/// part, exact to rounding because nothing is subtracted. Comparisons look at the real part, so
/// that max, top-k and |x| follow the branch that the real computation takes. Source: Squire &
/// Trapp 1998, doi:10.1137/S003614459631241X.
struct Complex {
  double re = 0, im = 0;

  constexpr Complex() = default;
  constexpr Complex(double real, double imaginary = 0) : re(real), im(imaginary) {}
  explicit constexpr operator double() const { return re; }

  friend constexpr Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  friend constexpr Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  friend constexpr Complex operator-(Complex a) { return {-a.re, -a.im}; }
  friend constexpr Complex operator*(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
  friend constexpr Complex operator/(Complex a, Complex b) {
    const double square = b.re * b.re + b.im * b.im;
    return {(a.re * b.re + a.im * b.im) / square, (a.im * b.re - a.re * b.im) / square};
  }
  friend constexpr bool operator<(Complex a, Complex b) { return a.re < b.re; }
  friend constexpr bool operator>(Complex a, Complex b) { return a.re > b.re; }
  friend constexpr bool operator==(Complex a, Complex b) { return a.re == b.re && a.im == b.im; }
  Complex& operator+=(Complex b) { return *this = *this + b; }

  friend Complex exp(Complex z) {
    const double size = std::exp(z.re);
    return {size * std::cos(z.im), size * std::sin(z.im)};
  }
  friend Complex log(Complex z) {
    return {std::log(std::hypot(z.re, z.im)), std::atan2(z.im, z.re)};
  }
  friend Complex sqrt(Complex z) {
    const double root = std::sqrt(z.re);  // exact for the infinitesimal imaginary parts used here
    return {root, z.im / (2 * root)};
  }
  friend Complex tanh(Complex z) {
    const Complex up = exp(z), down = exp(-z);
    return (up - down) / (up + down);
  }
  friend Complex erf(Complex z) {  // first order in the imaginary part
    return {std::erf(z.re), z.im * 1.12837916709551257390 * std::exp(-z.re * z.re)};
  }
};

}  // namespace moe::test
