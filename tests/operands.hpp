#pragma once
#include <cmath>
#include <cstdint>
#include <functional>
#include <moe/backend/backend.hpp>
#include <moe/core/random.hpp>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

namespace moe::test {

/// The operands of one kernel in the memory of backend B. Numbers are random multiples of 1/128, at
/// most 1, which bfloat16, float and double all hold exactly, so that two backends start from the
/// same numbers. Only those of `rotation` are rounded.
///
///     Operands x(backend, rows, cols, head_dim);
///     backend.rows(rows, kernel::RmsNormForward<float>{x.table(), x.row(), x.table(), x.column(),
///                                                      1e-5f});
template <class B>
class Operands {
 public:
  const int rows, cols, head_dim;

  /// head_dim: even, and a divisor of width.
  Operands(B& be, int n, int width, int part) : rows(n), cols(width), head_dim(part), be_(&be) {}
  Operands(const Operands&) = delete;

  /// An operand that is not made yet. It becomes what the kernel's member needs that it
  /// initializes: a table of X, or a pointer to X. Each initialization makes new memory.
  struct New {
    Operands& owner;
    int rows, cols;
    enum Kind { any, near_one, cosines_and_sines } kind = any;
    bool wanted = true;

    template <class X>
    operator Table<X>() const {
      return {owner.make<std::remove_const_t<X>>(*this), cols};
    }
    template <class X>
    operator X*() const {
      return owner.make<std::remove_const_t<X>>(*this);
    }
    /// Null if not `condition`.
    New when(bool condition) const { return {owner, rows, cols, kind, condition}; }
  };
  New table(int n, int width) { return {*this, n, width}; }
  New table() { return table(rows, cols); }
  New row() { return table(1, cols); }
  New column() { return table(rows, 1); }
  /// Numbers between 0.9 and 1.1.
  New positive(int n, int width) { return {*this, n, width, New::near_one}; }
  /// n rows of the cosines and then the sines of head_dim / 2 angles. Rotations keep the length of
  /// a vector, so that a benchmark that repeats them meets no denormal numbers.
  New rotation(int n) { return {*this, n, head_dim, New::cosines_and_sines}; }

  /// n integers from 0 to below - 1.
  int* ids(int n, int below) {
    return integers(n, [&](int i) { return int(random(i) % unsigned(below)); });
  }
  /// The numbers from 0 to n - 1 in some order.
  int* permutation(int n) {
    int step = n / 3 + 1;
    while (std::gcd(step, n) > 1) ++step;
    return integers(n, [&](int i) { return int(std::int64_t(i) * step % n); });
  }
  /// groups + 1 numbers that rise from 0 to n, by steps of different lengths.
  int* offsets(int groups, int n) {
    return integers(groups + 1,
                    [&](int i) { return int(std::int64_t(n) * i * i / groups / groups); });
  }

  /// Structures in the backend's memory. `read` gives the numbers of one that are compared; what
  /// its pointers point to is compared anyway.
  template <class X, class Read>
  X* structures(const std::vector<X>& values, const Read& read) {
    return keep<X>(
        values.size(), [&](int i) { return values[std::size_t(i)]; },
        [read](const std::vector<X>& now) {
          std::vector<double> all;
          for (const X& one : now)
            for (const double number : read(one)) all.push_back(number);
          return all;
        });
  }
  template <class X>
  X* structures(const std::vector<X>& values) {
    return structures(values, [](const X&) { return std::vector<double>(); });
  }
  /// Numbers of type X as New has them, for a structure's pointers.
  template <class X>
  X* numbers_of(New n) {
    return n;
  }

  /// How many operands there are, and the numbers of operand i now.
  std::size_t count() const { return operands_.size(); }
  std::vector<double> numbers(std::size_t i) const { return operands_[i].read(); }
  /// The largest relative change of a number that is rounded to the type of operand i: half a unit
  /// in the last place of bfloat16. The rounding of wider types is left to tolerances.
  double rounding(std::size_t i) const { return operands_[i].bytes == 2 ? 1.0 / 256 : 0; }

 private:
  struct Operand {
    Arena<B> memory;
    std::size_t bytes;  // of one number
    std::function<std::vector<double>()> read;
  };

  std::uint32_t random(int i) const {
    return philox(17, operands_.size(), std::uint64_t(i) / 4)[i % 4];
  }
  template <class X>
  X* make(const New& n) {
    if (!n.wanted) return nullptr;
    return keep<X>(std::size_t(n.rows) * std::size_t(n.cols), [&](int i) {
      if (n.kind == New::near_one) return X((116 + int(random(i) % 25)) / 128.0);
      if (n.kind == New::any) return X((int(random(i) % 257) - 128) / 128.0);
      const int half = n.cols / 2, r = i / n.cols, j = i % n.cols;
      const double angle = uniform(random(r * half + j % half)) * 6.283185307179586;
      return X(j < half ? std::cos(angle) : std::sin(angle));
    });
  }
  template <class F>
  int* integers(int n, const F& f) {
    return keep<int>(std::size_t(n), f);
  }
  template <class X, class F>
  X* keep(std::size_t n, const F& f) {
    return keep<X>(n, f, [](const std::vector<X>& now) {
      return std::vector<double>(now.begin(), now.end());
    });
  }
  template <class X, class F, class Read>
  X* keep(std::size_t n, const F& f, const Read& read) {
    std::vector<X> host(n);
    for (std::size_t i = 0; i < n; ++i) host[i] = f(int(i));
    Arena<B> memory(*be_, n * sizeof(X));
    X* const data = reinterpret_cast<X*>(memory.data());
    be_->upload(data, host.data(), n * sizeof(X));
    operands_.push_back({std::move(memory), sizeof(X), [be = be_, data, n, read] {
                           std::vector<X> now(n);
                           be->download(now.data(), data, n * sizeof(X));
                           return read(now);
                         }});
    return data;
  }

  B* be_;
  std::vector<Operand> operands_;
};

}  // namespace moe::test
