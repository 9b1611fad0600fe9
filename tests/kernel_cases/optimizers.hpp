#pragma once
#include "case.hpp"

namespace moe::test {

/// The whole table is one matrix of parameters.
std::ptrdiff_t matrix_size(const auto& x) {
  return std::ptrdiff_t(x.rows) * x.cols;
}
int chunks(const auto& x) {
  return kernel::chunks(matrix_size(x));
}

template <class W>
struct Case<kernel::NormSquare<W>> {
  static std::vector<Variant> variants() { return {{"norm_square", {1, 1}}}; }
  static auto make(auto& x, int) {
    return Launch{chunks(x),
                  kernel::NormSquare<W>{matrix_size(x), x.table(), x.table(chunks(x), 1)}};
  }
};
template <class W>
struct Case<kernel::AdamW<W>> {
  static std::vector<Variant> variants() { return {{"adamw", {4, 7}}}; }
  static auto make(auto& x, int) {
    return Launch{chunks(x), kernel::AdamW<W>{matrix_size(x), x.table(), x.table(), x.table(),
                                              x.positive(x.rows, x.cols), W(1), W(0.1), W(0.05),
                                              W(1 - 1e-4), W(1e-4), W(1), W(1e-8)}};
  }
};
template <class W>
struct Case<kernel::ExpertBiasStep<W>> {
  static std::vector<Variant> variants() { return {{"expert_bias_step"}}; }
  static auto make(auto& x, int) {
    return Launch{chunks(x),
                  kernel::ExpertBiasStep<W>{matrix_size(x), x.table(), x.table(), W(1e-3)}};
  }
};
template <class W>
struct Case<kernel::Momentum<W>> {
  static std::vector<Variant> variants() { return {{"momentum", {3, 4}}}; }
  static auto make(auto& x, int) {
    return Launch{chunks(x), kernel::Momentum<W>{matrix_size(x), x.table(), x.table(), x.table(),
                                                 W(1), W(0.05), W(0.95)}};
  }
};
template <class W>
struct Case<kernel::Descend<W>> {
  static std::vector<Variant> variants() { return {{"descend", {2, 3}}}; }
  static auto make(auto& x, int) {
    return Launch{chunks(x),
                  kernel::Descend<W>{matrix_size(x), x.table(), x.table(), W(1), W(1e-4)}};
  }
};

template <class W>
struct Case<kernel::InverseNorm<W>> {
  static std::vector<Variant> variants() { return {{"inverse_norm"}}; }
  static auto make(auto& x, int) {
    return Launch{
        x.rows, kernel::InverseNorm<W>{x.cols, x.positive(x.rows, x.cols), x.column(), 1.01, 1e-7}};
  }
};
template <class W>
struct Case<kernel::ScaleMatrix<W>> {
  static std::vector<Variant> variants() { return {{"scale_matrix"}}; }
  static auto make(auto& x, int) {
    const int matrix_rows = 4, matrices = x.rows / matrix_rows + 1;
    return Launch{x.rows,
                  kernel::ScaleMatrix<W>{matrix_rows, x.cols, x.table(), x.table(matrices, 1)}};
  }
};
// Square matrices, in strips of 16 rows.
template <class W>
struct Case<kernel::Polynomial<W>> {
  static std::vector<Variant> variants() { return {{"polynomial"}}; }
  static auto make(auto& x, int) {
    return Launch{x.cols, kernel::Polynomial<W>{x.cols, 16, x.table(x.cols, x.cols),
                                                x.table(x.cols, x.cols), W(3.4), W(-4.7), W(2.1)}};
  }
};
template <class W>
struct Case<kernel::Mirror<W>> {
  static std::vector<Variant> variants() { return {{"mirror"}}; }
  static auto make(auto& x, int) {
    return Launch{x.cols, kernel::Mirror<W>{x.cols, 16, x.table(x.cols, x.cols)}};
  }
};

}  // namespace moe::test
