#pragma once
#include <cstddef>
#include <moe/core/isa.hpp>
#include <moe/core/lane.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA {

/// The purpose of a learned leaf. It decides, by type, the initial value, the optimizer and the
/// weight decay.
/// `residual` is a hidden matrix that writes into the residual stream; its initial value is
/// smaller. `expert_bias` is no weight: it balances the load of the experts, and the optimizer
/// moves it by the sign of the excess load.
enum class Role { hidden, residual, embedding, position, head, router, gain, bias, expert_bias };

/// True for the matrices that Muon updates.
constexpr bool is_hidden(Role role) {
  return role == Role::hidden || role == Role::residual;
}
/// True for the leaves that weight decay applies to: all matrices, including embeddings and
/// positions.
constexpr bool decays(Role role) {
  return role != Role::gain && role != Role::bias && role != Role::expert_bias;
}

/// A learned leaf: `Count` matrices (Rows x Cols), row-major, [out, in]. A view; it owns nothing.
/// `Count` > 1 is a stack of experts, contiguous (Count, Rows, Cols).
///
///     struct Params { Param<float, Role::hidden, 512, 256, 8> up_proj; };
template <class T, Role R, int Rows, int Cols, int Count = 1>
struct Param {
  using Value = T;
  static constexpr Role role = R;
  static constexpr int rows = Rows, cols = Cols, count = Count;
  static constexpr std::size_t size = std::size_t(Rows) * std::size_t(Cols) * std::size_t(Count);
  T* data;

  /// All matrices as one table of Rows * Count rows.
  operator Table<T>() const { return {data, Cols}; }
  operator Table<const T>() const { return {data, Cols}; }
  T* matrix(int i) const { return data + std::size_t(i) * std::size_t(Rows) * std::size_t(Cols); }
};

/// Activations: `count` rows of `Cols` numbers. The number of rows is known only at run time. A
/// leaf of Cache or Scratch holds `PerToken` rows for each token (top_k for expert slots).
template <class T, int Cols, int PerToken = 1>
struct Rows {
  using Value = T;
  static constexpr int cols = Cols, per_token = PerToken;
  T* data;
  int count;

  operator Table<T>() const { return {data, Cols}; }
  operator Table<const T>() const requires(!std::is_const_v<T>) { return {data, Cols}; }
  operator Rows<const T, Cols, PerToken>() const requires(!std::is_const_v<T>) {
    return {data, count};
  }
  /// The `n` rows that start at row `first`.
  Rows slice(int first, int n) const { return {data + std::ptrdiff_t(first) * Cols, n}; }
};

/// A leaf of Cache or Scratch whose size does not depend on the batch.
template <class T, int Size>
struct Fixed {
  using Value = T;
  static constexpr std::size_t size = std::size_t(Size);
  T* data;

  T& operator[](int i) const { return data[i]; }
};

/// A matrix operand of a backend's products. Element (i, j) is data[i * row_stride + j *
/// col_stride].
/// If `rows` is set, row i of the matrix is row rows[i] of data. Such rows are gathered while they
/// are read, without a copy.
template <class T>
struct Matrix {
  T* data;
  std::ptrdiff_t row_stride, col_stride = 1;
  const int* rows = nullptr;
};

template <class T>
Matrix<T> transposed(Matrix<T> m) {
  return {m.data, m.col_stride, m.row_stride};
}

template <class T, int Cols, int PerToken>
Matrix<const std::remove_const_t<T>> matrix(Rows<T, Cols, PerToken> r) {
  return {r.data, Cols};
}
/// The first matrix of the leaf. Products on groups step by `Leaf::rows * Leaf::cols`.
template <class T, Role R, int RowCount, int Cols, int Count>
Matrix<const T> matrix(const Param<T, R, RowCount, Cols, Count>& p) {
  return {p.data, Cols};
}

}  // namespace moe
