#pragma once
#include <array>
#include <boost/pfr/core.hpp>
#include <boost/pfr/tuple_size.hpp>
#include <cstddef>
#include <moe/config.hpp>
#include <moe/tensor.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

// The bookkeeping of parameters and activations, derived from their declaration: this is the only
// file that includes Boost.PFR. A tree is an aggregate of leaves, arrays and smaller trees.

#ifdef __CUDACC__
static_assert(false, "moe: reflect.hpp is for host compilers; nvcc sees moe/kernels only");
#endif

namespace moe {

template <class T>
inline constexpr bool is_param = false;
template <class T, Role R, int Rows, int Cols, int Count>
inline constexpr bool is_param<Param<T, R, Rows, Cols, Count>> = true;

template <class T>
inline constexpr bool is_rows = false;
template <class T, int Cols, int PerToken>
inline constexpr bool is_rows<Rows<T, Cols, PerToken>> = true;

template <class T>
inline constexpr bool is_fixed = false;
template <class T, int Size>
inline constexpr bool is_fixed<Fixed<T, Size>> = true;

template <class T>
inline constexpr bool is_leaf = is_param<T> || is_rows<T> || is_fixed<T>;

template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t N>
inline constexpr bool is_array<std::array<T, N>> = true;

/// One tree for each layer of a model, in two arrays because there are two kinds of layer.
/// With OncePerKind one tree for each kind that occurs: scratch that the layers share.
template <ModelConfig C, class Dense, class Mixture, bool OncePerKind = false>
struct PerLayer {
  static constexpr int layers = C.layers;
  static constexpr bool once = OncePerKind;
  static constexpr int mixtures = once ? (C.moe_layers() > 0) : C.moe_layers();
  static constexpr int denses = once ? (C.moe_layers() < layers) : layers - C.moe_layers();
  std::array<Dense, std::size_t(denses)> dense;
  std::array<Mixture, std::size_t(mixtures)> mixture;

  static constexpr bool is_moe(int layer) { return C.is_moe(layer); }
  /// The tree of a layer of kind `Moe`, number `at` among its kind.
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

template <class F, class Tree, class... Same>
void for_each_leaf(F&& f, Tree& tree, Same&... same);
template <class F, class Tree, class... Same>
void for_each_named_leaf(F&& f, const std::string& path, Tree& tree, Same&... same);

namespace detail {

// The compiler's own spelling of &object.field, cut to the field. Boost.PFR has field names from
// 2.2 on; Debian 12 ships 2.1.
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wundefined-internal"  // only its address is taken
#pragma clang diagnostic ignored "-Wundefined-var-template"
#endif
template <class T>
struct Object {
  T value;
};
template <class T>
extern Object<T> object;
template <class T>
struct Pointer {
  T at;
};
template <Pointer P>
constexpr auto spelling() {
  return std::string_view(__PRETTY_FUNCTION__);
}
constexpr std::string_view last_identifier(std::string_view text) {
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  std::size_t end = text.size();
  while (end > 0 && !word(text[end - 1])) --end;
  std::size_t begin = end;
  while (begin > 0 && word(text[begin - 1])) --begin;
  return text.substr(begin, end - begin);
}
template <class Tree, std::size_t I>
constexpr std::string_view field_name() {
  constexpr auto* field = &boost::pfr::get<I>(object<Tree>.value);
  return last_identifier(spelling<Pointer<decltype(field)>{field}>());
}
#ifdef __clang__
#pragma clang diagnostic pop
#endif

/// One copy for all leaves: inlined into every walk it doubles the time to compile a model.
[[gnu::noinline]] inline std::string joined(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}
[[gnu::noinline]] inline std::string joined(const std::string& path, std::size_t i) {
  return path + "." + std::to_string(i);
}

template <std::size_t I, class F, class... Trees>
void descend(F&& f, Trees&... trees) {
  for_each_leaf(f, boost::pfr::get<I>(trees)...);
}
template <std::size_t I, class F, class Tree, class... Same>
void descend_named(F&& f, const std::string& path, Tree& tree, Same&... same) {
  for_each_named_leaf(f, joined(path, field_name<std::remove_const_t<Tree>, I>()),
                      boost::pfr::get<I>(tree), boost::pfr::get<I>(same)...);
}

/// Calls f(layer number, tree, same...) for the trees of a PerLayer, first layer first.
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

/// Calls f(a, b, ...) for the same leaf of equally shaped trees, in declaration order.
template <class F, class Tree, class... Same>
void for_each_leaf(F&& f, Tree& tree, Same&... same) {
  using Node = std::remove_const_t<Tree>;
  if constexpr (is_leaf<Node>) {
    f(tree, same...);
  } else if constexpr (is_array<Node>) {
    for (std::size_t i = 0; i < tree.size(); ++i) for_each_leaf(f, tree[i], same[i]...);
  } else if constexpr (is_per_layer<Node>) {
    detail::for_each_layer([&](int, auto&... layer) { for_each_leaf(f, layer...); }, tree, same...);
  } else {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (detail::descend<I>(f, tree, same...), ...);
    }
    (std::make_index_sequence<boost::pfr::tuple_size_v<Node>>{});
  }
}

/// The same with the leaf's path in front: f("blocks.0.attn.q.weight", a, b, ...).
template <class F, class Tree, class... Same>
void for_each_named_leaf(F&& f, const std::string& path, Tree& tree, Same&... same) {
  using Node = std::remove_const_t<Tree>;
  if constexpr (is_leaf<Node>) {
    f(path, tree, same...);
  } else if constexpr (is_array<Node>) {
    for (std::size_t i = 0; i < tree.size(); ++i)
      for_each_named_leaf(f, detail::joined(path, i), tree[i], same[i]...);
  } else if constexpr (is_per_layer<Node>) {
    detail::for_each_layer(
        [&](int i, auto&... layer) {
          for_each_named_leaf(f, detail::joined(path, std::size_t(i)), layer...);
        },
        tree, same...);
  } else {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (detail::descend_named<I>(f, path, tree, same...), ...);
    }
    (std::make_index_sequence<boost::pfr::tuple_size_v<Node>>{});
  }
}

/// Every leaf starts on a multiple of this many bytes.
inline constexpr std::size_t leaf_alignment = 256;

/// Elements of a leaf of a batch of `tokens` tokens.
template <class Leaf>
constexpr std::size_t elements(const Leaf&, int tokens) {
  if constexpr (is_rows<Leaf>) {
    return std::size_t(tokens) * std::size_t(Leaf::per_token) * std::size_t(Leaf::cols);
  } else {
    return Leaf::size;
  }
}

/// Points every leaf into the memory at `at` (null: only counts) and gives the bytes used.
/// Row counts of activations become tokens * per_token.
template <class Tree>
std::size_t bind(Tree& tree, std::byte* at, int tokens = 0) {
  std::size_t used = 0;
  for_each_leaf(
      [&](auto& leaf) {
        using Leaf = std::remove_reference_t<decltype(leaf)>;
        leaf.data = at ? reinterpret_cast<typename Leaf::Value*>(at + used) : nullptr;
        if constexpr (is_rows<Leaf>) leaf.count = tokens * Leaf::per_token;
        const std::size_t bytes = elements(leaf, tokens) * sizeof(typename Leaf::Value);
        used += (bytes + leaf_alignment - 1) / leaf_alignment * leaf_alignment;
      },
      tree);
  return used;
}

/// Bytes of a tree for a batch of `tokens` tokens, alignment included.
template <class Tree>
std::size_t bytes(int tokens = 0) {
  Tree tree{};
  return bind(tree, nullptr, tokens);
}

}  // namespace moe
