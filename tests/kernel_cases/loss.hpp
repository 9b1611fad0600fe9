#pragma once
#include "case.hpp"

namespace moe::test {

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
struct Case<kernel::Fused<kernel::CrossEntropyForward<W>, kernel::CrossEntropyBackward<W>>> {
  static std::vector<Variant> variants() { return {{"cross_entropy_forward_backward"}}; }
  static auto make(auto& x, int) {
    const Table<W> logits = x.table(), lse = x.column();
    const int* targets = x.ids(x.rows, x.cols);
    return Launch{
        x.rows,
        kernel::Fused{kernel::CrossEntropyForward<W>{logits, targets, x.column(), lse, x.column()},
                      kernel::CrossEntropyBackward<W>{logits, targets, lse, W(1.0 / x.rows)}}};
  }
};

}  // namespace moe::test
