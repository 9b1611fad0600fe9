#pragma once
#include <array>
#include <concepts>
#include <cstddef>
#include <moe/backend/backend.hpp>
#include <moe/kernels/chunk.hpp>
#include <moe/tree/leaves.hpp>
#include <span>
#include <string_view>

namespace moe::inline MOE_ISA {

/// One leaf in an update, in the form that the workspace of its rule sees. All numbers are in the
/// backend's memory.
template <class T>
struct LeafUpdate {
  std::string_view name;  // its path in Params
  LeafView<T> param, grad;
  T* states;                  // all states, contiguous
  std::size_t state_stride;   // distance between two states, in numbers
  const double* grad_square;  // of each matrix, before clipping; null: expert bias

  /// State `i` of the rule: as many numbers as the leaf has, 0 before the first update.
  LeafView<T> state(std::size_t i) const {
    LeafView<T> view = param;
    view.data = states + i * state_stride;
    return view;
  }
};

/// What a rule gets for an update. The numbers of the update (`control`) are known to the backend
/// only: the host does not wait for the norm of the gradient.
template <class T>
struct RuleUpdate {
  const kernel::LeafChunk<T>* chunk;  // all numbers of the leaves that the rule has taken
  int chunks;
  const kernel::StepControl* control;
};

/// A rule of an Optimizer says which leaves it updates, and how. It is a struct of numbers with
///
/// - `static constexpr std::array<std::string_view, N> states`: what it keeps for every number of a
///   leaf, by the names that files have. "first" is a mean of gradients and "second" a mean of
///   their squares: those are what upcycle_state carries over;
/// - `static constexpr bool takes(Role)`: whether it updates the leaves of a role;
/// - `update(backend, const RuleUpdate&) const`, once for each update: launches what changes its
///   leaves and leaves zeros in their gradients. Most rules launch one kernel for all chunks, which
///   calls LeafChunk::update. If control->skip is set, only gradients change.
///
/// It may also have
///
/// - `double lr`, the peak learning rate. An optimizer reports that of its first rule with one;
/// - `checked<T>() const`, which throws moe::Error if a number is out of range where T is what the
///   model computes with;
/// - `template <class B> Workspace`, the memory that it needs beside the states. One is made from
///   the backend and the LeafUpdates of its leaves, and is the last argument of update. It tells
///   `static bytes_needed(infos)`, from the LeafInfos.
///
/// Short: ExpertBiasRule. With everything: MuonRule. One of your own: examples/lion.hpp.
template <class R>
concept UpdateRule = requires(Role role) {
  { R::takes(role) } -> std::same_as<bool>;
  { R::states.size() } -> std::same_as<std::size_t>;
};

namespace detail {

/// The workspace of a rule that needs none.
struct NoWorkspace {
  template <class B, class T>
  NoWorkspace(B&, std::span<const LeafUpdate<T>>) {}
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
