#pragma once
#include <cstddef>
#include <cstring>
#include <moe/core/error.hpp>
#include <moe/tree/walk.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace moe::inline MOE_ISA {

/// The shape of a leaf as run-time numbers, and its position in its tree.
struct LeafInfo {
  std::size_t value_bytes;  // bytes of one number
  std::size_t size;         // count of numbers; Rows: per token
  int rows, cols, count;    // Param: `count` matrices (rows, cols). Rows: rows per token
  Role role;                // Param only
  bool per_token;           // true for Rows
  std::size_t offset = 0;   // in bytes, from the start of the tree

  std::size_t elements(int tokens) const { return per_token ? size * std::size_t(tokens) : size; }
  std::size_t bytes(int tokens = 0) const;
};

/// A learned leaf with its shape as run-time numbers.
template <class T>
struct LeafView {
  T* data;
  Role role;
  int rows, cols, count;
  std::size_t size;

  T* matrix(int i) const { return data + std::size_t(i) * std::size_t(rows) * std::size_t(cols); }
};

/// Every leaf starts at a multiple of this many bytes.
inline constexpr std::size_t leaf_alignment = 256;

inline std::size_t LeafInfo::bytes(int tokens) const {
  return (elements(tokens) * value_bytes + leaf_alignment - 1) / leaf_alignment * leaf_alignment;
}

namespace detail {

template <class Leaf>
constexpr LeafInfo describe() {
  constexpr std::size_t bytes = sizeof(typename Leaf::Value);
  if constexpr (is_param<Leaf>) {
    return {bytes, Leaf::size, Leaf::rows, Leaf::cols, Leaf::count, Leaf::role, false};
  } else if constexpr (is_rows<Leaf>) {
    constexpr std::size_t size = std::size_t(Leaf::per_token) * std::size_t(Leaf::cols);
    static_assert(offsetof(Leaf, count) == sizeof(void*));
    return {bytes, size, Leaf::per_token, Leaf::cols, 1, Role{}, true};
  } else {
    return {bytes, Leaf::size, 1, int(Leaf::size), 1, Role{}, false};
  }
}
template <class Leaf>
inline constexpr LeafInfo description = describe<Leaf>();

/// Collects the leaves in the order of the walk. The non-inlined functions are compiled once for
/// all leaf types, which keeps compile time low (see for_each_leaf).
struct LeafTable {
  const void* tree;
  std::vector<LeafInfo> leaves = {};
  std::vector<Mark> marks = {};

  template <class Leaf>
  void operator()(const Path&, Leaf& leaf) {
    static_assert(std::is_standard_layout_v<Leaf>);  // so the pointer is at its start
    add(&leaf, description<std::remove_const_t<Leaf>>);
  }
  [[gnu::noinline]] void mark(Mark::Kind kind) { marks.push_back({kind, leaves.size()}); }
  [[gnu::noinline]] void add(const void* leaf, const LeafInfo& info) {
    leaves.push_back(info);
    leaves.back().offset =
        std::size_t(static_cast<const std::byte*>(leaf) - static_cast<const std::byte*>(tree));
  }
};
struct NameTable {
  std::vector<std::string> names = {};
  void operator()(const Path& path, const auto&) { add(path); }
  [[gnu::noinline]] void add(const Path& path) { names.push_back(path.text()); }
};

template <class Tree>
const LeafTable& leaf_table() {
  static const LeafTable all = [] {
    Tree tree{};
    LeafTable table{&tree};
    walk<false>(table, {}, tree);
    table.tree = nullptr;
    return table;
  }();
  return all;
}

}  // namespace detail

/// The leaves of a tree in declaration order, listed once for each type of tree. Code that treats
/// all leaves alike is a loop over this list, so that compile time does not grow with the number of
/// leaves.
///
///     for (const moe::LeafInfo& leaf : moe::leaves<Params>()) total += leaf.size;
template <class Tree>
const std::vector<LeafInfo>& leaves() {
  return detail::leaf_table<Tree>().leaves;
}

/// The paths of the leaves, in the order of leaves().
template <class Tree>
const std::vector<std::string>& leaf_names() {
  static const std::vector<std::string> all = [] {
    Tree tree{};
    detail::NameTable table;
    detail::walk<true>(table, {}, tree);
    return std::move(table.names);
  }();
  return all;
}

/// The leaf of `tree` that `leaf` describes. Its numbers must be of type T.
template <class T, class Tree>
LeafView<T> view(Tree& tree, const LeafInfo& leaf) {
  MOE_EXPECTS(leaf.value_bytes == sizeof(T), "a leaf of numbers of ", leaf.value_bytes,
              " bytes was viewed as numbers of ", sizeof(T));
  T* data;
  std::memcpy(&data, reinterpret_cast<const std::byte*>(&tree) + leaf.offset, sizeof data);
  return {data, leaf.role, leaf.rows, leaf.cols, leaf.count, leaf.size};
}

}  // namespace moe
