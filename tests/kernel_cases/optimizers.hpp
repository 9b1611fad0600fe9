#pragma once
#include <algorithm>
#include <vector>

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
/// An update that is made, and one that is skipped.
template <class X>
kernel::StepControl* step_control(X& x, bool skip) {
  kernel::StepControl now{.lr_factor = 0.5, .grad_scale = skip ? 0 : 0.25, .updates = 3};
  now.skip = skip ? 1 : 0;
  return x.structures(std::vector{now}, [](const kernel::StepControl& c) {
    return std::vector{c.norm,
                       c.grad_scale,
                       c.last_finite_norm,
                       double(c.updates),
                       double(c.skipped),
                       double(c.consecutive_skips),
                       double(c.skip),
                       double(c.loss_not_finite),
                       double(c.first_bad_leaf)};
  });
}
template <class X>
kernel::AdamWFactors* factors(X& x, const kernel::AdamWFactors& values) {
  return x.structures(std::vector{values}, [](const kernel::AdamWFactors& f) {
    return std::vector{f.keep, f.step, f.correction};
  });
}
/// The whole table in chunks, with `states` states beside it.
template <class W, class X>
kernel::LeafChunk<W>* leaf_chunks(X& x, int states) {
  const std::ptrdiff_t size = matrix_size(x);
  W* const p = x.template numbers_of<W>(x.table());
  W* const grad = x.template numbers_of<W>(x.table());
  W* const state = x.template numbers_of<W>(x.positive(states * x.rows, x.cols));
  std::vector<kernel::LeafChunk<W>> table;
  for (std::ptrdiff_t at = 0; at < size; at += kernel::chunk)
    table.push_back({p + at, grad + at, state + at, size,
                     int(std::min<std::ptrdiff_t>(kernel::chunk, size - at)), at == 0});
  return x.structures(table);
}
template <class W>
struct Case<kernel::GradientSquare<W>> {
  static std::vector<Variant> variants() { return {{"gradient_square", {1, 1}}}; }
  static auto make(auto& x, int) {
    W* const grad = x.template numbers_of<W>(x.table());
    std::vector<kernel::GradientChunk<W>> table;
    for (std::ptrdiff_t at = 0; at < matrix_size(x); at += kernel::chunk)
      table.push_back(
          {grad + at, int(std::min<std::ptrdiff_t>(kernel::chunk, matrix_size(x) - at))});
    return Launch{chunks(x), kernel::GradientSquare<W>{x.structures(table), x.table(chunks(x), 1)}};
  }
};
template <class W>
struct Case<kernel::MatrixSquare<W>> {
  static std::vector<Variant> variants() { return {{"matrix_square"}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows, kernel::MatrixSquare<W>{matrices(x), x.positive(x.rows, x.cols),
                                                  x.column(), x.cols}};
  }
  static kernel::GradientMatrix* matrices(auto& x) {
    std::vector<kernel::GradientMatrix> table;
    table.reserve(std::size_t(x.rows));
    for (int r = 0; r < x.rows; ++r) table.push_back({r * x.cols, x.cols, r});
    return x.structures(table);
  }
};
template <>
struct Case<kernel::DecideStep> {
  static std::vector<Variant> variants() { return {{"decide_step"}, {"decide_step, clipped"}}; }
  static auto make(auto& x, int v) {
    return Launch{1, kernel::DecideStep{x.rows, Case<kernel::MatrixSquare<float>>::matrices(x),
                                        x.positive(x.rows, 1), v == 0 ? 1e9 : 0.5, x.ids(1, 1),
                                        step_control(x, false)}};
  }
};
template <>
struct Case<kernel::AdamWPrepare> {
  static std::vector<Variant> variants() { return {{"adamw_prepare"}}; }
  static auto make(auto& x, int) {
    return Launch{
        1, kernel::AdamWPrepare{step_control(x, false), factors(x, {}), 1e-3, 0.9, 0.95, 0.1}};
  }
};
template <class W>
struct Case<kernel::AdamW<W>> {
  static std::vector<Variant> variants() { return {{"adamw", {4, 7}}, {"adamw, skipped"}}; }
  static auto make(auto& x, int v) {
    return Launch{chunks(x),
                  kernel::AdamW<W>{leaf_chunks<W>(x, 2), step_control(x, v == 1),
                                   factors(x, {1 - 1e-4, 1e-4, 1.0}), W(0.1), W(0.05), W(1e-8)}};
  }
};
template <class W>
struct Case<kernel::ExpertBiasStep<W>> {
  static std::vector<Variant> variants() {
    return {{"expert_bias_step"}, {"expert_bias_step, skipped"}};
  }
  static auto make(auto& x, int v) {
    return Launch{chunks(x), kernel::ExpertBiasStep<W>{leaf_chunks<W>(x, 0),
                                                       step_control(x, v == 1), W(1e-3)}};
  }
};
/// The whole table as one matrix of Muon; without a gradient if `still`.
template <class W, class X>
kernel::MuonMatrix<W>* muon_matrix(X& x, bool still) {
  return x.structures(std::vector{kernel::MuonMatrix<W>{
      x.template numbers_of<W>(x.table()), x.template numbers_of<W>(x.table()),
      x.template numbers_of<W>(x.table()), x.structures(std::vector{still ? 0.0 : 1.0})}});
}
template <class W>
struct Case<kernel::Fused<kernel::Momentum<W>, kernel::NormSquare<W>>> {
  static std::vector<Variant> variants() {
    return {{"momentum", {3, 4}}, {"momentum, no gradient"}};
  }
  static auto make(auto& x, int v) {
    W* const direction = x.template numbers_of<W>(x.table());
    return Launch{
        chunks(x),
        kernel::Fused{kernel::Momentum<W>{matrix_size(x), muon_matrix<W>(x, v == 1), direction,
                                          step_control(x, false), W(0.05), W(0.95)},
                      kernel::NormSquare<W>{matrix_size(x), direction, x.table(chunks(x), 1)}}};
  }
};
template <class W>
struct Case<kernel::Descend<W>> {
  static std::vector<Variant> variants() { return {{"descend", {2, 3}}, {"descend, skipped"}}; }
  static auto make(auto& x, int v) {
    return Launch{chunks(x), kernel::Descend<W>{matrix_size(x), muon_matrix<W>(x, false), x.table(),
                                                step_control(x, v == 1), 0.02, 1.5, 0.1}};
  }
};

template <class W>
struct Case<kernel::FinishReport<W>> {
  static std::vector<Variant> variants() {
    return {{"finish_report"}, {"finish_report, no targets"}};
  }
  static auto make(auto& x, int v) {
    const kernel::RouterResults<W> routers{1,       x.cols,  x.offsets(x.cols, 5 * x.cols),
                                           x.row(), x.row(), 0};
    return Launch{
        1, kernel::FinishReport<W>{v == 0 ? x.rows : 0, x.column(), x.column(), routers, 0.01,
                                   0.001, 0.002, x.table(1, 6 + x.cols + 1), x.ids(1, 1)}};
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
