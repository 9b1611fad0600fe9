#pragma once
#include <moe/core/bfloat16.hpp>
#include <moe/kernels/list.hpp>
#include <string>
#include <vector>

#include "operands.hpp"

// How to launch each kernel of moe/kernels/list.hpp on operands of one's choice: for the parity
// tests (backend/kernels.cpp) and the benchmarks (benchmarks/kernels.cpp).

namespace moe::test {

/// `tables`: distinct tables of rows x cols that are touched; `accesses`: reads and writes of one;
/// `evaluations`: of exp, erf or random factors, for each element. Without tables: not measured.
struct Traffic {
  int tables = 0, accesses = 0;
  double evaluations = 0;
};
/// One way to use a kernel: with these options, or with those.
struct Variant {
  std::string name;
  Traffic traffic = {};
};

/// A kernel and how many rows or columns it is for.
template <class Kernel>
struct Launch {
  int n;
  Kernel kernel;

  template <class B>
  void operator()(B& be) const {
    if constexpr (kernel::is_column_kernel<Kernel>) {
      be.columns(n, kernel);
    } else {
      be.rows(n, kernel);
    }
  }
};
template <class Kernel>
Launch(int, Kernel) -> Launch<Kernel>;

/// What a kernel of the list needs in order to be tested and measured: its variants, and a launch
/// of variant v on new operands. A kernel without a case does not compile there.
template <class Kernel>
struct Case;

template <class W, class S>
struct Case<kernel::RmsNormForward<W, S>> {
  static std::vector<Variant> variants() { return {{"rms_norm_forward", {2, 2}}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows,
                  kernel::RmsNormForward<W, S>{x.table(), x.row(), x.table(), x.column(), W(1e-5)}};
  }
};
template <class W, class S>
struct Case<kernel::RmsNormApply<W, S>> {
  static std::vector<Variant> variants() { return {{"rms_norm_apply", {2, 2}}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows, kernel::RmsNormApply<W, S>{x.table(), x.row(), x.column(), x.table()}};
  }
};
template <class W, class S>
struct Case<kernel::RmsNormBackward<W, S>> {
  static std::vector<Variant> variants() {
    return {{"rms_norm_backward", {3, 4}}, {"rms_norm_backward, dx overwritten"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::RmsNormBackward<W, S>{x.table(), x.row(), x.positive(x.rows, 1),
                                                        x.table(), x.table(), v == 0}};
  }
};
template <class W, class S>
struct Case<kernel::RmsNormGainGrad<W, S>> {
  static std::vector<Variant> variants() { return {{"rms_norm_gain", {2, 2}}}; }
  static auto make(auto& x, int) {
    return Launch{x.cols, kernel::RmsNormGainGrad<W, S>{x.rows, x.table(), x.positive(x.rows, 1),
                                                        x.table(), x.row()}};
  }
};

template <class W, class S>
struct Case<kernel::LayerNormForward<W, S>> {
  static std::vector<Variant> variants() {
    return {{"layer_norm_forward", {2, 2}}, {"layer_norm_forward, no bias"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::LayerNormForward<W, S>{x.table(), x.row(), x.row().when(v == 0),
                                                         x.table(), x.table(x.rows, 2), W(1e-5)}};
  }
};
template <class W, class S>
struct Case<kernel::LayerNormApply<W, S>> {
  static std::vector<Variant> variants() {
    return {{"layer_norm_apply", {2, 2}}, {"layer_norm_apply, no bias"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::LayerNormApply<W, S>{x.table(), x.row(), x.row().when(v == 0),
                                                       x.positive(x.rows, 2), x.table()}};
  }
};
template <class W, class S>
struct Case<kernel::LayerNormBackward<W, S>> {
  static std::vector<Variant> variants() {
    return {{"layer_norm_backward", {3, 4}}, {"layer_norm_backward, dx overwritten"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::LayerNormBackward<W, S>{x.table(), x.row(), x.positive(x.rows, 2),
                                                          x.table(), x.table(), v == 0}};
  }
};
template <class W, class S>
struct Case<kernel::LayerNormGainGrad<W, S>> {
  static std::vector<Variant> variants() {
    return {{"layer_norm_gain", {2, 2}}, {"layer_norm_gain, no bias"}};
  }
  static auto make(auto& x, int v) {
    return Launch{
        x.cols, kernel::LayerNormGainGrad<W, S>{x.rows, x.table(), x.positive(x.rows, 2), x.table(),
                                                x.row(), x.row().when(v == 0)}};
  }
};

/// Names of an activation function, alone and with a gate.
template <class Act>
struct Names;
template <class W>
struct Names<kernel::Gelu<W>> {
  static constexpr const char *plain = "gelu", *gated = "geglu";
};
template <class W>
struct Names<kernel::GeluTanh<W>> {
  static constexpr const char *plain = "gelu_tanh", *gated = "gelu_tanh_gated";
};
template <class W>
struct Names<kernel::Silu<W>> {
  static constexpr const char *plain = "silu", *gated = "swiglu";
};
template <class W>
struct Names<kernel::ReluSquared<W>> {
  static constexpr const char *plain = "relu_squared", *gated = "relu_squared_gated";
};

template <class W, class Act, class S>
struct Case<kernel::ActivationForward<W, Act, S>> {
  static std::vector<Variant> variants() {
    const std::string gated = Names<Act>::gated;
    return {{Names<Act>::plain + std::string("_forward"), {2, 2, 1}},
            {gated + "_forward", {3, 3, 1}},
            {gated + "_forward, dropout"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows,
                  kernel::ActivationForward<W, Act, S>{x.table(), x.table().when(v > 0), x.table(),
                                                       v < 2 ? nullptr : x.permutation(x.rows),
                                                       v < 2 ? Dropout{} : Dropout{0.1, 1, 2}}};
  }
};
template <class W, class Act, class S>
struct Case<kernel::ActivationBackward<W, Act, S>> {
  static std::vector<Variant> variants() {
    const std::string gated = Names<Act>::gated;
    return {{Names<Act>::plain + std::string("_backward"), {4, 4, 1}},
            {gated + "_backward", {6, 6, 1}},
            {gated + "_backward, dropout"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::ActivationBackward<W, Act, S>{
                              x.table(), x.table().when(v > 0), x.table(), x.column(), x.table(),
                              x.table(), x.table().when(v > 0), x.column().when(v == 2),
                              v < 2 ? nullptr : x.permutation(x.rows),
                              v < 2 ? Dropout{} : Dropout{0.1, 1, 2}}};
  }
};

template <class W, class S>
struct Case<kernel::BiasGrad<W, S>> {
  static std::vector<Variant> variants() { return {{"bias_grad", {1, 1}}, {"bias_grad, groups"}}; }
  static auto make(auto& x, int v) {
    if (v == 0)
      return Launch{x.cols,
                    kernel::BiasGrad<W, S>{1, x.rows, nullptr, nullptr, {}, x.table(), x.row()}};
    return Launch{x.cols, kernel::BiasGrad<W, S>{3, 0, x.offsets(3, x.rows), x.permutation(x.rows),
                                                 x.column(), x.table(), x.table(3, x.cols)}};
  }
};

template <class S>
struct Case<kernel::Add<S>> {
  static std::vector<Variant> variants() { return {{"add", {2, 3}}}; }
  static auto make(auto& x, int) { return Launch{x.rows, kernel::Add<S>{x.table(), x.table()}}; }
};
template <class S>
struct Case<kernel::Drop<S>> {
  static std::vector<Variant> variants() { return {{"dropout", {2, 2, 1}}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows, kernel::Drop<S>{x.table(), x.table(), {0.1, 1, 2}}};
  }
};
template <class S>
struct Case<kernel::DropAdd<S>> {
  static std::vector<Variant> variants() { return {{"drop_add", {2, 3}}, {"drop_add, dropout"}}; }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::DropAdd<S>{x.table(), x.table(), {0.1 * v, 1, 2}}};
  }
};
// Sums of two operands are exact in every type: the norm reads the same everywhere.
template <class S, class W>
struct Case<kernel::Then<kernel::DropAdd<S>, kernel::RmsNormForward<W, S>>> {
  static std::vector<Variant> variants() { return {{"drop_add_rms_norm", {3, 4}}}; }
  static auto make(auto& x, int) {
    const Table<S> mid = x.table();
    return Launch{x.rows, kernel::Then{kernel::DropAdd<S>{x.table(), mid, {}},
                                       kernel::RmsNormForward<W, S>{mid, x.row(), x.table(),
                                                                    x.column(), W(1e-5)}}};
  }
};
template <class S, class W>
struct Case<kernel::Then<kernel::DropAdd<S>, kernel::LayerNormForward<W, S>>> {
  static std::vector<Variant> variants() { return {{"drop_add_layer_norm", {3, 4}}}; }
  static auto make(auto& x, int) {
    const Table<S> mid = x.table();
    return Launch{x.rows,
                  kernel::Then{kernel::DropAdd<S>{x.table(), mid, {}},
                               kernel::LayerNormForward<W, S>{mid, x.row(), x.row(), x.table(),
                                                              x.table(x.rows, 2), W(1e-5)}}};
  }
};

// Ids are below the numbers of rows and of columns: a vocabulary of that size. Then positions.
template <class W, class S>
struct Case<kernel::EmbeddingForward<W, S>> {
  static std::vector<Variant> variants() {
    return {{"embedding_forward", {2, 2}}, {"embedding_forward, positions"}};
  }
  static auto make(auto& x, int v) {
    const int* ids = v == 0 ? x.ids(x.rows, std::min(x.rows, x.cols)) : nullptr;
    return Launch{x.rows, kernel::EmbeddingForward<W, S>{ids, v, v == 0 ? 1 : x.rows - 1, x.table(),
                                                         x.table(), W(v == 0 ? 1 : 0.5), v == 1}};
  }
};
template <class W, class S>
struct Case<kernel::EmbeddingGrad<W, S>> {
  static std::vector<Variant> variants() {
    return {{"embedding_backward", {2, 3}}, {"embedding_backward, positions"}};
  }
  static auto make(auto& x, int v) {
    const int* ids = v == 0 ? x.ids(x.rows, std::min(x.rows, x.cols)) : nullptr;
    return Launch{x.cols, kernel::EmbeddingGrad<W, S>{x.rows, ids, v, v == 0 ? 1 : x.rows - 1,
                                                      x.table(), x.table(), W(v == 0 ? 1 : 0.5)}};
  }
};

template <class W>
struct Case<kernel::RopeTable<W>> {
  static std::vector<Variant> variants() { return {{"rope_table"}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows, kernel::RopeTable<W>{x.table(x.rows, x.head_dim), 3, 10000.0}};
  }
};
// Sequences of few positions, so that their angles stay in the first-level cache.
template <class W, class S>
struct Case<kernel::RopeHalf<W, S>> {
  static std::vector<Variant> variants() { return {{"rope_half", {1, 2}}, {"rope_half, back"}}; }
  static auto make(auto& x, int v) {
    return Launch{x.rows,
                  kernel::RopeHalf<W, S>{x.table(), x.table(8, x.head_dim), 8, W(v == 0 ? 1 : -1)}};
  }
};
template <class W, class S>
struct Case<kernel::RopeInterleaved<W, S>> {
  static std::vector<Variant> variants() {
    return {{"rope_interleaved", {1, 2}}, {"rope_interleaved, back"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::RopeInterleaved<W, S>{x.table(), x.table(8, x.head_dim), 8,
                                                        W(v == 0 ? 1 : -1)}};
  }
};

// As many experts as columns, of which each token chooses two.
inline constexpr int top_k = 2;
inline std::vector<Variant> router_variants(const std::string& name) {
  return {{name},
          {name + ", sigmoid"},
          {name + ", renormalized"},
          {name + ", sigmoid, renormalized, noise"}};
}
inline kernel::Routing routing(int v) {
  return {top_k, v % 2 == 1, v >= 2, false, v == 3 ? 0.5 : 0.0, 5, 6};
}

template <class W>
struct Case<kernel::RouteForward<W>> {
  static std::vector<Variant> variants() { return router_variants("route_forward"); }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::RouteForward<W>{x.table(), x.row().when(v % 2 == 1), x.table(),
                                                  x.table(x.rows, top_k), x.table(x.rows, top_k),
                                                  x.column(), x.table(x.rows, 2), routing(v)}};
  }
};
template <class W>
struct Case<kernel::RouteBackward<W>> {
  static std::vector<Variant> variants() { return router_variants("route_backward"); }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::RouteBackward<W>{x.table(),
                                                   x.positive(x.rows, x.cols),
                                                   {x.ids(x.rows * top_k, x.cols), top_k},
                                                   x.table(x.rows, top_k),
                                                   x.column(),
                                                   x.table(x.rows, top_k),
                                                   x.offsets(x.cols, x.rows * top_k),
                                                   x.table(),
                                                   routing(v),
                                                   W(0.5),
                                                   W(0.25),
                                                   W(0.125)}};
  }
};
template <class W>
struct Case<kernel::ColumnMean<W>> {
  static std::vector<Variant> variants() { return {{"column_mean"}}; }
  static auto make(auto& x, int) {
    return Launch{x.cols, kernel::ColumnMean<W>{x.rows, x.table(), x.row()}};
  }
};
template <class W>
struct Case<kernel::LoadExcess<W>> {
  static std::vector<Variant> variants() { return {{"load_excess"}}; }
  static auto make(auto& x, int) {
    return Launch{x.cols, kernel::LoadExcess<W>{x.cols, x.offsets(x.cols, 5 * x.cols), x.row()}};
  }
};

template <class W>
struct Case<kernel::ToSlots<W>> {
  static std::vector<Variant> variants() { return {{"to_slots"}}; }
  static auto make(auto& x, int) {
    const int slots = x.rows * top_k;
    return Launch{x.rows, kernel::ToSlots<W>{x.table(x.rows, top_k),
                                             {x.permutation(slots), top_k},
                                             x.table(slots, 1),
                                             x.table(slots, 1)}};
  }
};
template <class W, class S>
struct Case<kernel::Combine<W, S>> {
  static std::vector<Variant> variants() { return {{"combine"}, {"combine, gates sum to one"}}; }
  static auto make(auto& x, int v) {
    const int slots = x.rows * top_k;
    return Launch{x.rows, kernel::Combine<W, S>{x.table(slots, x.cols),
                                                x.table(x.rows, top_k),
                                                {x.permutation(slots), top_k},
                                                x.table(),
                                                v == 1}};
  }
};
template <class S>
struct Case<kernel::SumSlots<S>> {
  static std::vector<Variant> variants() { return {{"sum_slots"}, {"sum_slots, dx overwritten"}}; }
  static auto make(auto& x, int v) {
    const int slots = x.rows * top_k;
    return Launch{x.rows,
                  kernel::SumSlots<S>{
                      x.table(slots, x.cols), {x.permutation(slots), top_k}, x.table(), v == 0}};
  }
};
template <class W, class S>
struct Case<kernel::GateGrad<W, S>> {
  static std::vector<Variant> variants() { return {{"gate_grad"}, {"gate_grad, no bias"}}; }
  static auto make(auto& x, int v) {
    const int slots = x.rows * top_k, experts = 5;
    return Launch{x.rows, kernel::GateGrad<W, S>{x.table(slots, 1),
                                                 x.table(),
                                                 x.table(experts, x.cols).when(v == 0),
                                                 {x.permutation(slots), top_k},
                                                 {x.ids(slots, experts), top_k},
                                                 x.table(x.rows, top_k)}};
  }
};

template <class W>
struct Case<kernel::CrossEntropyForward<W>> {
  static std::vector<Variant> variants() { return {{"cross_entropy_forward", {1, 1, 1}}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows, kernel::CrossEntropyForward<W>{x.table(), x.ids(x.rows, x.cols),
                                                         x.column(), x.column(), x.column()}};
  }
};
template <class W>
struct Case<kernel::CrossEntropyBackward<W>> {
  static std::vector<Variant> variants() { return {{"cross_entropy_backward", {1, 2, 1}}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows, kernel::CrossEntropyBackward<W>{x.table(), x.ids(x.rows, x.cols),
                                                          x.positive(x.rows, 1), W(1.0 / x.rows)}};
  }
};
template <class W>
struct Case<kernel::Then<kernel::CrossEntropyForward<W>, kernel::CrossEntropyBackward<W>>> {
  static std::vector<Variant> variants() { return {{"cross_entropy_forward_backward"}}; }
  static auto make(auto& x, int) {
    const Table<W> logits = x.table(), lse = x.column();
    const int* targets = x.ids(x.rows, x.cols);
    return Launch{
        x.rows,
        kernel::Then{kernel::CrossEntropyForward<W>{logits, targets, x.column(), lse, x.column()},
                     kernel::CrossEntropyBackward<W>{logits, targets, lse, W(1.0 / x.rows)}}};
  }
};

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
