#pragma once
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <moe/backend/backend.hpp>
#include <moe/kernels/chunk.hpp>
#include <moe/tree/leaves.hpp>
#include <span>
#include <string_view>

namespace moe::inline MOE_ISA {

/// One leaf in an update, in the form that its rule sees. All numbers are in the backend's memory,
/// except grad_square.
template <class T>
struct LeafUpdate {
  std::string_view name;  // its path in Params
  LeafView<T> param, grad;
  T* states;                  // all states, contiguous
  std::size_t state_stride;   // distance between two states, in numbers
  const double* grad_square;  // of each matrix, before clipping; null: expert bias

  std::ptrdiff_t size() const { return std::ptrdiff_t(param.size); }
  /// State `i` of the rule: as many numbers as the leaf has, 0 before the first update.
  LeafView<T> state(std::size_t i) const {
    LeafView<T> view = param;
    view.data = states + i * state_stride;
    return view;
  }
  /// True if matrix `i` has a gradient; an expert without tokens has none. A square below at_rest
  /// counts as none: it may be a sum of subnormal numbers, which some threads flush to 0 and others
  /// do not.
  bool has_gradient(int i) const { return grad_square[i] >= kernel::at_rest<T>; }
};

/// The values of the current update that every rule gets.
struct UpdateStep {
  std::int64_t number;  // 1 for the first update; skipped ones do not count
  double lr_factor;     // from the schedule: multiplies learning rates
  double grad_scale;    // from clipping: multiplies gradients
};

/// A rule of an Optimizer says which leaves it updates, and how. It is a struct of numbers with
///
/// - `static constexpr std::array<std::string_view, N> states`: what it keeps for every number of a
///   leaf, by the names that files have. "first" is a mean of gradients and "second" a mean of
///   their squares: those are what upcycle_state carries over;
/// - `static constexpr bool takes(Role)`: whether it updates the leaves of a role;
/// - `update(backend, leaves, step) const`, once for each update: changes all leaves that it has
///   taken, a span of LeafUpdate, and leaves zeros in their gradients.
///
/// It may also have
///
/// - `double lr`, the peak learning rate. An optimiser reports that of its first rule with one;
/// - `checked<T>() const`, which throws moe::Error if a number is out of range where T is what the
///   model computes with;
/// - `template <class B> Workspace`, the memory that it needs beside the states. One is made from
///   the backend and the LeafInfo of its leaves, and is the last argument of update. It tells
///   `static bytes_needed(leaves)`.
///
/// Short: AdamWRule. With everything: MuonRule. One of your own: tests/optim/custom_rule.cpp.
template <class R>
concept UpdateRule = requires(Role role) {
  { R::takes(role) } -> std::same_as<bool>;
  { R::states.size() } -> std::same_as<std::size_t>;
};

namespace detail {

/// The workspace of a rule that needs none.
struct NoWorkspace {
  template <class B>
  NoWorkspace(B&, std::span<const LeafInfo>) {}
  static std::size_t bytes_needed(std::span<const LeafInfo>) { return 0; }
};

template <class R, class B>
struct WorkspaceOf {
  using type = NoWorkspace;
};
template <class R, class B>
requires requires {
  typename R::template Workspace<B>;
}
struct WorkspaceOf<R, B> {
  using type = typename R::template Workspace<B>;
};

}  // namespace detail
}  // namespace moe
