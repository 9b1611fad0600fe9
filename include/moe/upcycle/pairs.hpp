#pragma once
#include <array>
#include <moe/tree/fields.hpp>
#include <moe/tree/leaves.hpp>
#include <moe/tree/walk.hpp>
#include <tuple>
#include <type_traits>
#include <vector>

namespace moe::inline MOE_ISA::detail {

/// The parameters of a feed-forward, or of the experts of a mixture.
template <class P>
concept FeedForwardParams = requires(P& p) {
  p.gate_proj;
  p.up_proj;
  p.down_proj;
};
/// The parameters of a mixture of experts.
template <class P>
concept MixtureParams = requires(P& p) {
  p.router;
  p.experts;
  p.shared;
};

/// A leaf of a mixture and the leaf of the dense model that it comes from.
template <class W>
struct UpcyclePair {
  /// The part that the leaf belongs to: `common` to both models, or a part of a mixture of experts.
  enum Part { common, router, shared, expert_gate, expert_up, expert_down } part;
  int layer;
  LeafView<W> from, to;  // a router has no origin

  bool is_expert() const { return part >= expert_gate; }
};

/// All leaves of a mixture model with their origins. Both trees are walked side by side. A mixture
/// of experts is recognized by its type, in the place where the dense model has a feed-forward, so
/// a custom block may contain it anywhere.
template <class W>
class UpcyclePairs {
 public:
  using Pair = UpcyclePair<W>;

  /// Takes trees of parameters, or of one kind of optimizer state.
  template <class Dense, class Moe>
  UpcyclePairs(const Dense& dense, const Moe& moe) {
    add(dense, moe);
  }
  auto begin() const { return pairs_.begin(); }
  auto end() const { return pairs_.end(); }

 private:
  template <class Dense, class Moe>
  void add(const Dense& dense, const Moe& moe) {
    if constexpr (std::is_same_v<Dense, Moe>) {
      add_leaves(Pair::common, dense, moe);
    } else if constexpr (FeedForwardParams<Dense> && MixtureParams<Moe>) {
      for_each_leaf([&](const auto& to) { add_leaf(Pair::router, nothing, to); }, moe.router);
      add_leaves(Pair::shared, dense, moe.shared);
      add_leaves(Pair::expert_gate, dense.gate_proj, moe.experts.gate_proj);
      add_leaves(Pair::expert_up, dense.up_proj, moe.experts.up_proj);
      add_leaves(Pair::expert_down, dense.down_proj, moe.experts.down_proj);
    } else if constexpr (is_per_layer<Dense> && is_per_layer<Moe>) {
      for_each_layer(
          [&](int i, const auto& layer) {
            layer_ = i;
            add(dense.dense[std::size_t(i)], layer);
          },
          moe);
      layer_ = 0;
    } else if constexpr (is_array<Dense> && is_array<Moe>) {
      static_assert(std::tuple_size_v<Dense> == std::tuple_size_v<Moe>,
                    "moe: upcycle needs the same block in both models");
      for (std::size_t i = 0; i < moe.size(); ++i) add(dense[i], moe[i]);
    } else {
      constexpr bool leaf = is_leaf<Dense> || is_leaf<Moe>;
      static_assert(!leaf, "moe: upcycle needs the same block in both models");
      if constexpr (!leaf) {
        static_assert(field_count<Dense> == field_count<Moe>,
                      "moe: upcycle needs the same block in both models");
        for_each_field([&](const auto& from, const auto& to) { add(from, to); }, dense, moe);
      }
    }
  }
  template <class Dense, class Moe>
  void add_leaves(typename Pair::Part part, const Dense& dense, const Moe& moe) {
    for_each_leaf([&](const auto& to, const auto& from) { add_leaf(part, view_of(from), to); }, moe,
                  dense);
  }
  template <class Leaf>
  void add_leaf(typename Pair::Part part, const LeafView<W>& from, const Leaf& to) {
    if (Leaf::size > 0) pairs_.push_back({part, layer_, from, view_of(to)});
  }

  template <class Leaf>
  static LeafView<W> view_of(const Leaf& leaf) {
    return {leaf.data, Leaf::role, Leaf::rows, Leaf::cols, Leaf::count, Leaf::size};
  }
  static constexpr LeafView<W> nothing{nullptr, Role{}, 0, 0, 0, 0};

  int layer_ = 0;
  std::vector<Pair> pairs_;
};

}  // namespace moe::detail
