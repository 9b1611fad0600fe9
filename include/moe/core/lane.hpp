#pragma once
#include <cmath>
#include <cstddef>
#include <moe/core/isa.hpp>
#include <moe/core/strict_math.hpp>
#include <type_traits>

// Everything that a kernel body may use. Safe for nvcc: this file includes no host-only header.
// In every kernel T is the number type of parameters and arithmetic. S is the type in which
// activations are stored: T, or narrower (bfloat16.hpp).

#ifdef __CUDACC__
#define MOE_KERNEL __host__ __device__ inline
#else
#define MOE_KERNEL inline
#endif

namespace moe::inline MOE_ISA {

/// A position in a row, together with the type V of the values there: a scalar, or a SIMD pack that
/// covers `index`, `index + 1`, ... Kernels are written once over lanes; the backend chooses V.
template <class V>
struct Lane {
  int index;
};

template <class T>
MOE_KERNEL T load(const T* at, Lane<T> i) {
  return at[i.index];
}
template <class T>
MOE_KERNEL void store(T* at, Lane<T> i, const T& value) {
  at[i.index] = value;
}

/// The values of a function of the position: {f(i), f(i + 1), ...}.
template <class V, class F>
MOE_KERNEL V generate(Lane<V> i, const F& f) {
  return V(f(i.index));
}

/// `condition ? yes : no`, lane by lane.
template <class T>
MOE_KERNEL T select(bool condition, const T& yes, const T& no) {
  return condition ? yes : no;
}

/// The result of `row[i]` for a writable row: reads, assigns or adds one lane.
template <class T, class V>
class LaneReference {
 public:
  MOE_KERNEL LaneReference(T* at, Lane<V> i) : at_(at), i_(i) {}
  MOE_KERNEL V value() const { return load(static_cast<const T*>(at_), i_); }
  MOE_KERNEL operator V() const { return value(); }
  MOE_KERNEL void operator=(const V& value) const { store(at_, i_, value); }
  MOE_KERNEL void operator+=(const V& value) const { store(at_, i_, V(this->value() + value)); }

 private:
  T* at_;
  Lane<V> i_;
};

/// One row. `row[lane]` has the lane's type V; `row(column)` is a single element.
template <class T>
struct Row {
  T* data;

  template <class V>
  MOE_KERNEL auto operator[](Lane<V> i) const {
    if constexpr (std::is_const_v<T>) {
      return load(data, i);
    } else {
      return LaneReference<T, V>(data, i);
    }
  }
  MOE_KERNEL T& operator()(int column) const { return data[column]; }
};

/// Rows of equal length. `table[r][lane]` reads or writes a lane, `table(r, column)` an element,
/// `table(r)` the element in column 0.
template <class T>
struct Table {
  T* data = nullptr;
  int cols = 0;
  std::ptrdiff_t stride = cols;

  MOE_KERNEL Row<T> operator[](int r) const { return {data + r * stride}; }
  MOE_KERNEL T& operator()(int r, int column = 0) const { return data[r * stride + column]; }
  MOE_KERNEL operator Table<const T>() const requires(!std::is_const_v<T>) {
    return {data, cols, stride};
  }
};

/// Consecutive rows, divided into segments. Segment g begins at row offset[g] and ends before row
/// offset[g + 1]; if `offset` is null, every segment has `count` rows.
struct Segments {
  int segments = 1;
  int count = 0;  // with `offset`: the rows of all segments, or more
  const int* offset = nullptr;

  MOE_KERNEL int begin(int g) const { return offset ? offset[g] : g * count; }
  MOE_KERNEL int end(int g) const { return offset ? offset[g + 1] : g * count + count; }
};

/// The sum of the numbers f(0) ... f(n - 1), in an order that all backends share: 256 sums take the
/// numbers in turn; then the upper half of the sums is added to the lower half until one is left.
/// This is the whole work of a group of one thread. 0 if n is 0.
template <class F>
MOE_KERNEL double serial_total(int n, const F& f) {
  const int sums = n < 256 ? n : 256;
  double sum[256];
  sum[0] = 0;
  for (int i = 0; i < sums; ++i) sum[i] = f(i);
  for (int i = sums; i < n; ++i) sum[i % 256] += f(i);
  for (int half = 128; half > 0; half /= 2)
    for (int i = 0; i < half && i + half < sums; ++i) sum[i] += sum[i + half];
  return sum[0];
}

namespace kernel {

/// The elementary functions that kernels use, for V a scalar or a SIMD pack: those of the standard
/// library, or of V's own namespace. A backend may specialize this struct for its packs.
template <class V>
struct Math {
  MOE_KERNEL static V exp(const V& x) {
    using std::exp;
    return exp(x);
  }
  MOE_KERNEL static V log(const V& x) {
    using std::log;
    return log(x);
  }
  MOE_KERNEL static V sqrt(const V& x) {
    using std::sqrt;
    return sqrt(x);
  }
  MOE_KERNEL static V tanh(const V& x) {
    using std::tanh;
    return tanh(x);
  }
  MOE_KERNEL static V erf(const V& x) {
    using std::erf;
    return erf(x);
  }
};

// Kernels call these with the prefix `kernel::`. Without it, the functions of a pack's own
// namespace would be found instead.
template <class V>
MOE_KERNEL V exp(const V& x) {
  return Math<V>::exp(x);
}
template <class V>
MOE_KERNEL V log(const V& x) {
  return Math<V>::log(x);
}
template <class V>
MOE_KERNEL V sqrt(const V& x) {
  return Math<V>::sqrt(x);
}
template <class V>
MOE_KERNEL V tanh(const V& x) {
  return Math<V>::tanh(x);
}
template <class V>
MOE_KERNEL V erf(const V& x) {
  return Math<V>::erf(x);
}

}  // namespace kernel

}  // namespace moe
