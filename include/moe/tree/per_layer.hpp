#pragma once
#include <array>
#include <cstddef>
#include <moe/core/config.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA {

/// One tree for each layer of a model, in two arrays because there are two kinds of layers. With
/// OncePerKind there is only one tree for each kind that occurs, and the two share memory: scratch
/// that all layers reuse.
template <ModelConfig C, class Dense, class Mixture, bool OncePerKind = false>
struct PerLayer {
  static constexpr int layers = C.layers;
  static constexpr bool once = OncePerKind, overlaid = once;
  static constexpr int mixtures = once ? (C.moe_layers() > 0) : C.moe_layers();
  static constexpr int denses = once ? (C.moe_layers() < layers) : layers - C.moe_layers();
  std::array<Dense, std::size_t(denses)> dense;
  std::array<Mixture, std::size_t(mixtures)> mixture;

  static constexpr bool is_moe(int layer) { return C.is_moe(layer); }
  /// The tree of the `at`-th layer of its kind (with experts if Moe, else dense).
  template <bool Moe>
  auto& of(int at) {
    if constexpr (Moe) {
      return mixture[std::size_t(once ? 0 : at)];
    } else {
      return dense[std::size_t(once ? 0 : at)];
    }
  }
  template <bool Moe>
  const auto& of(int at) const {
    return const_cast<PerLayer*>(this)->template of<Moe>(at);
  }
};

template <class T>
inline constexpr bool is_per_layer = false;
template <ModelConfig C, class Dense, class Mixture, bool Once>
inline constexpr bool is_per_layer<PerLayer<C, Dense, Mixture, Once>> = true;

namespace detail {

/// Calls f(layer number, tree, same...) for every tree of a PerLayer, in layer order.
template <class F, class Tree, class... Same>
void for_each_layer(F&& f, Tree& tree, Same&... same) {
  using Node = std::remove_const_t<Tree>;
  int mixtures = 0, denses = 0;
  for (int i = 0; i < Node::layers; ++i) {
    if (Node::is_moe(i)) {
      const std::size_t at = std::size_t(mixtures++);
      if constexpr (Node::mixtures > 0)
        if (at < std::size_t(Node::mixtures)) f(i, tree.mixture[at], same.mixture[at]...);
    } else {
      const std::size_t at = std::size_t(denses++);
      if constexpr (Node::denses > 0)
        if (at < std::size_t(Node::denses)) f(i, tree.dense[at], same.dense[at]...);
    }
  }
}

}  // namespace detail
}  // namespace moe
