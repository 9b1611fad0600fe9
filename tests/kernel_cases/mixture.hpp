#pragma once
#include "case.hpp"

namespace moe::test {

// There are as many experts as columns, and each token chooses two of them.
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
    return Launch{x.cols, kernel::ColumnMean<W>{x.rows, x.table(), x.row()}, {1, x.rows}};
  }
};
template <class W>
struct Case<kernel::LoadExcess<W>> {
  static std::vector<Variant> variants() { return {{"load_excess"}}; }
  static auto make(auto& x, int) {
    return Launch{1, kernel::LoadExcess<W>{x.cols, x.offsets(x.cols, 5 * x.cols), x.row()}};
  }
};

template <class W>
struct Case<kernel::GatesToSlots<W>> {
  static std::vector<Variant> variants() { return {{"to_slots"}}; }
  static auto make(auto& x, int) {
    const int slots = x.rows * top_k;
    return Launch{x.rows, kernel::GatesToSlots<W>{x.table(x.rows, top_k),
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
struct Case<kernel::DispatchBackward<S>> {
  static std::vector<Variant> variants() { return {{"sum_slots"}, {"sum_slots, dx overwritten"}}; }
  static auto make(auto& x, int v) {
    const int slots = x.rows * top_k;
    return Launch{x.rows,
                  kernel::DispatchBackward<S>{
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

}  // namespace moe::test
