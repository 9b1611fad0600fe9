#pragma once
#include <algorithm>
#include <moe/core/enum_names.hpp>
#include <string>
#include <type_traits>
#include <utility>

#include "case.hpp"

// Cases for norms, activations, biases, the residual stream, embeddings and rotary positions.

namespace moe::test {

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
    return Launch{
        x.cols,
        kernel::RmsNormGainGrad<W, S>{x.table(), x.positive(x.rows, 1), x.table(), x.row()},
        {1, x.rows}};
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
    return Launch{x.cols,
                  kernel::LayerNormGainGrad<W, S>{x.table(), x.positive(x.rows, 2), x.table(),
                                                  x.row(), x.row().when(v == 0)},
                  {1, x.rows}};
  }
};

/// The name of the library's activation Act; empty if no configuration can name it.
template <class W, class Act, std::size_t I = 0>
std::string name_of() {
  if constexpr (I == enum_names<Activation>.size()) {
    return "";
  } else if constexpr (std::is_same_v<Act, kernel::ActivationOf<W, Activation(I)>>) {
    return std::string(enum_names<Activation>[I]);
  } else {
    return name_of<W, Act, I + 1>();
  }
}

/// Variants: plain; gated, with `more` tables; and with all options.
template <class W, class Act>
std::vector<Variant> activation_variants(const std::string& pass, int tables, int more) {
  const std::string plain = name_of<W, Act>() + pass, name = name_of<W, kernel::Gated<Act>>();
  Variant gated{plain + ", gated"};
  if (!name.empty()) gated = {name + pass, {tables + more, tables + more, 1}};
  return {{plain, {tables, tables, 1}}, gated, {plain + ", gated, dropout"}};
}

template <class W, class Act, class S>
struct Case<kernel::ActivationForward<W, Act, S>> {
  static std::vector<Variant> variants() { return activation_variants<W, Act>("_forward", 2, 1); }
  static auto make(auto& x, int v) {
    return Launch{x.rows,
                  kernel::ActivationForward<W, Act, S>{x.table(), x.table().when(v > 0), x.table(),
                                                       v < 2 ? nullptr : x.permutation(x.rows),
                                                       v < 2 ? Dropout{} : Dropout{0.1, 1, 2}}};
  }
};
template <class W, class Act, class S>
struct Case<kernel::ActivationBackward<W, Act, S>> {
  static std::vector<Variant> variants() { return activation_variants<W, Act>("_backward", 4, 2); }
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
      return Launch{x.cols, kernel::BiasGrad<W, S>{nullptr, {}, x.table(), x.row()}, {1, x.rows}};
    return Launch{
        x.cols,
        kernel::BiasGrad<W, S>{x.permutation(x.rows), x.column(), x.table(), x.table(3, x.cols)},
        {3, x.rows, x.offsets(3, x.rows)}};
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
// Sums of two operands are exact in every type, so the norm reads the same numbers on every
// backend.
template <class S, class W>
struct Case<kernel::Fused<kernel::DropAdd<S>, kernel::RmsNormForward<W, S>>> {
  static std::vector<Variant> variants() { return {{"drop_add_rms_norm", {3, 4}}}; }
  static auto make(auto& x, int) {
    const Table<S> mid = x.table();
    return Launch{x.rows, kernel::Fused{kernel::DropAdd<S>{x.table(), mid, {}},
                                        kernel::RmsNormForward<W, S>{mid, x.row(), x.table(),
                                                                     x.column(), W(1e-5)}}};
  }
};
template <class S, class W>
struct Case<kernel::Fused<kernel::DropAdd<S>, kernel::LayerNormForward<W, S>>> {
  static std::vector<Variant> variants() { return {{"drop_add_layer_norm", {3, 4}}}; }
  static auto make(auto& x, int) {
    const Table<S> mid = x.table();
    return Launch{x.rows,
                  kernel::Fused{kernel::DropAdd<S>{x.table(), mid, {}},
                                kernel::LayerNormForward<W, S>{mid, x.row(), x.row(), x.table(),
                                                               x.table(x.rows, 2), W(1e-5)}}};
  }
};

// The first variant has token ids below the number of rows and of columns; the second one has
// positions.
template <class W, class S, class P>
struct Case<kernel::EmbeddingForward<W, S, P>> {
  static std::vector<Variant> variants() {
    if (!std::is_same_v<W, P>) return {{"embedding_forward, narrow weight", {2, 2}}};
    return {{"embedding_forward", {2, 2}}, {"embedding_forward, positions"}};
  }
  static auto make(auto& x, int v) {
    const int* ids = v == 0 ? x.ids(x.rows, std::min(x.rows, x.cols)) : nullptr;
    return Launch{x.rows,
                  kernel::EmbeddingForward<W, S, P>{ids, v, v == 0 ? 1 : x.rows - 1, x.table(),
                                                    x.table(), W(v == 0 ? 1 : 0.5), v == 1}};
  }
};
template <class W, class S>
struct Case<kernel::EmbeddingGrad<W, S>> {
  static std::vector<Variant> variants() {
    return {{"embedding_backward", {1, 1}}, {"embedding_backward, positions"}};
  }
  static auto make(auto& x, int v) {
    if (v == 0)
      return Launch{
          x.cols,
          kernel::EmbeddingGrad<W, S>{x.permutation(x.rows), 0, 0, 0, x.table(), x.table(), W(1)},
          {std::min(x.rows, 5), x.rows, x.offsets(std::min(x.rows, 5), x.rows)}};
    const int length = std::max(1, x.rows / 2);
    return Launch{x.cols,
                  kernel::EmbeddingGrad<W, S>{nullptr, 0, length, x.rows / length, x.table(),
                                              x.table(), W(0.5)},
                  {length, x.rows / length}};
  }
};

template <class W>
struct Case<kernel::RopeTable<W>> {
  static std::vector<Variant> variants() { return {{"rope_table"}}; }
  static auto make(auto& x, int) {
    return Launch{x.rows, kernel::RopeTable<W>{x.table(x.rows, x.head_dim), 3, 10000.0}};
  }
};
// The sequences are short, so that their angles stay in the first-level cache.
template <class W, class S>
struct Case<kernel::RopeHalf<W, S>> {
  static std::vector<Variant> variants() { return {{"rope_half", {1, 2}}, {"rope_half, back"}}; }
  static auto make(auto& x, int v) {
    return Launch{x.rows, kernel::RopeHalf<W, S>{x.table(), x.rotation(8), 8, W(v == 0 ? 1 : -1)}};
  }
};
template <class W, class S>
struct Case<kernel::RopeInterleaved<W, S>> {
  static std::vector<Variant> variants() {
    return {{"rope_interleaved", {1, 2}}, {"rope_interleaved, back"}};
  }
  static auto make(auto& x, int v) {
    return Launch{x.rows,
                  kernel::RopeInterleaved<W, S>{x.table(), x.rotation(8), 8, W(v == 0 ? 1 : -1)}};
  }
};

}  // namespace moe::test
