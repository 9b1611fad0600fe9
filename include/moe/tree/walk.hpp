#pragma once
#include <boost/pfr/core.hpp>
#include <boost/pfr/tuple_size.hpp>
#include <cstddef>
#include <moe/tree/field_name.hpp>
#include <moe/tree/leaf.hpp>
#include <moe/tree/per_layer.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace moe::inline MOE_ISA {
namespace detail {

/// The position of a walk: the fields and indices from the root of the tree.
struct Path {
  const Path* up = nullptr;
  std::string_view field = {};  // empty: element `at` of the array `up`
  std::size_t at = 0;

  [[gnu::noinline]] std::string text() const {
    const std::string own = up && field.empty() ? std::to_string(at) : std::string(field);
    const std::string before = up ? up->text() : "";
    return before.empty() ? own : before + "." + own;
  }
};

/// An event of a walk just before leaf number `leaf`: an overlaid tree begins, one of its fields
/// begins, or the tree ends.
struct Mark {
  enum Kind { overlay, field, end } kind;
  std::size_t leaf = 0;
};
template <class Tree, class F>
void mark(F& f, Mark::Kind kind) {
  if constexpr (is_overlaid<Tree> && requires { f.mark(kind); }) f.mark(kind);
}

/// Calls f(path, a, b, ...) for corresponding leaves of trees with the same shape. Without Named
/// the paths hold no field names: those of a type that is local to a function cannot be found out.
template <bool Named, class F, class Tree, class... Same>
void walk(F& f, const Path& path, Tree& tree, Same&... same) {
  using Node = std::remove_const_t<Tree>;
  if constexpr (is_leaf<Node>) {
    f(path, tree, same...);
  } else if constexpr (is_array<Node>) {
    for (std::size_t i = 0; i < tree.size(); ++i)
      walk<Named>(f, Path{&path, {}, i}, tree[i], same[i]...);
  } else if constexpr (is_per_layer<Node>) {
    mark<Node>(f, Mark::overlay);
    for_each_layer(
        [&](int i, auto&... layer) {
          mark<Node>(f, Mark::field);
          walk<Named>(f, Path{&path, {}, std::size_t(i)}, layer...);
        },
        tree, same...);
    mark<Node>(f, Mark::end);
  } else {
    const auto descend = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) {
      mark<Node>(f, Mark::field);
      Path inside{&path};
      if constexpr (Named) inside.field = field_name<Node, I>();
      walk<Named>(f, inside, boost::pfr::get<I>(tree), boost::pfr::get<I>(same)...);
    };
    mark<Node>(f, Mark::overlay);
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (descend(std::integral_constant<std::size_t, I>{}), ...);
    }
    (std::make_index_sequence<boost::pfr::tuple_size_v<Node>>{});
    mark<Node>(f, Mark::end);
  }
}

}  // namespace detail

/// Calls f(a, b, ...) for corresponding leaves of trees with the same shape, in declaration order.
/// f is compiled for every leaf type; prefer a loop over leaves() if run-time shapes are enough.
template <class F, class Tree, class... Same>
void for_each_leaf(F&& f, Tree& tree, Same&... same) {
  const auto call = [&](const detail::Path&, auto&... leaf) { f(leaf...); };
  detail::walk<false>(call, {}, tree, same...);
}

/// Like for_each_leaf, with the path of the leaf as first argument: f("blocks.0.attn.q.weight", a,
/// b, ...).
template <class F, class Tree, class... Same>
void for_each_named_leaf(F&& f, const std::string& path, Tree& tree, Same&... same) {
  const auto call = [&](const detail::Path& at, auto&... leaf) { f(at.text(), leaf...); };
  detail::walk<true>(call, {nullptr, path}, tree, same...);
}

}  // namespace moe
