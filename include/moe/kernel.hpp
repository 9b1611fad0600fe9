#pragma once
#include <cmath>
#include <cstddef>
#include <type_traits>

// All that a kernel body may use. Safe for nvcc: no host-only header is included here.

#ifdef __CUDACC__
#define MOE_KERNEL __host__ __device__ inline
#else
#define MOE_KERNEL inline
#endif

namespace moe {

/// A position in a row, seen through the number type V that sits there: a scalar, or a SIMD pack
/// that covers `index`, `index + 1`, ... Kernels are written once over lanes; the backend chooses
/// V.
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

/// The lane's values of a function of the position: {f(i), f(i + 1), ...}.
template <class V, class F>
MOE_KERNEL V generate(Lane<V> i, const F& f) {
  return V(f(i.index));
}

/// `condition ? yes : no`, lane by lane.
template <class T>
MOE_KERNEL T select(bool condition, const T& yes, const T& no) {
  return condition ? yes : no;
}

/// What `row[i]` gives for a row that may be written: reads, assigns and adds one lane.
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

/// One row: `row[lane]` is a value of the lane's type, `row(column)` a single element.
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

/// Rows of equal length: `table[r][lane]`, `table(r, column)`, and `table(r)` for column 0.
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

namespace kernel {
// Kernels call these unqualified: scalars find them here, packs and the tests' complex numbers by
// their own namespace.
using std::erf;
using std::exp;
using std::log;
using std::sqrt;
using std::tanh;
}  // namespace kernel

}  // namespace moe
