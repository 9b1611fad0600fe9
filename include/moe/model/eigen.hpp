#pragma once
#include <Eigen/Core>
#include <moe/core/tensor.hpp>

namespace moe::inline MOE_ISA {

/// Row-major Eigen view of our memory. Dynamic sizes on purpose: fixed ones would instantiate Eigen
/// once per shape.
template <class T>
using EigenMap = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

/// Matrix `i` of a leaf as an Eigen matrix, without a copy, for inspecting or changing weights.
/// Only for backends whose memory the host can read. Not part of moe.hpp: include it where it is
/// needed.
/// Test: tests/model/eigen.cpp.
///
///     const auto q = moe::as_eigen(model.params().blocks.of<true>(0).attn.q.weight);
///     std::printf("%g\n", double(q.norm()));
template <class T, Role R, int RowCount, int Cols, int Count>
EigenMap<T> as_eigen(const Param<T, R, RowCount, Cols, Count>& leaf, int i = 0) {
  return {leaf.matrix(i), RowCount, Cols};
}
template <class T, int Cols, int PerToken>
EigenMap<T> as_eigen(const Rows<T, Cols, PerToken>& rows) {
  return {rows.data, rows.count, Cols};
}

}  // namespace moe
