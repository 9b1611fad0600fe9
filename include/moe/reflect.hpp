#pragma once
#include <algorithm>
#include <array>
#include <boost/pfr/core.hpp>
#include <boost/pfr/tuple_size.hpp>
#include <cstddef>
#include <cstring>
#include <moe/config.hpp>
#include <moe/error.hpp>
#include <moe/tensor.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

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

/// A tree of which only one field is in use at a time: all of them start at the same address.
///
///     struct Branch {
///       static constexpr bool overlaid = true;
///       Attention::Scratch attn;
///       FeedForward::Scratch ffn;
///     };
template <class T>
inline constexpr bool is_overlaid = false;
template <class T>
requires(T::overlaid) inline constexpr bool is_overlaid<T> = true;

/// One tree for each layer of a model, in two arrays because there are two kinds of layer.
/// With OncePerKind one tree for each kind that occurs, overlaid: scratch that the layers share.
template <ModelConfig C, class Dense, class Mixture, bool OncePerKind = false>
struct PerLayer {
  static constexpr int layers = C.layers;
  static constexpr bool once = OncePerKind, overlaid = once;
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
consteval std::string_view field_name() {
  constexpr auto* field = &boost::pfr::get<I>(object<Tree>.value);
  return last_identifier(spelling<Pointer<decltype(field)>{field}>());
}
#ifdef __clang__
#pragma clang diagnostic pop
#endif

/// Where a walk has come to: the fields and places from the root of the tree on.
struct Path {
  const Path* up = nullptr;
  std::string_view field = {};  // empty: the element number `at` of `up`
  std::size_t at = 0;

  [[gnu::noinline]] std::string text() const {
    const std::string own = up && field.empty() ? std::to_string(at) : std::string(field);
    const std::string before = up ? up->text() : "";
    return before.empty() ? own : before + "." + own;
  }
};

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

/// What a walk over the tree meets before leaf number `leaf`.
struct Mark {
  enum Kind { overlay, field, end } kind;  // an overlaid tree, one of its fields, its end
  std::size_t leaf = 0;
};
template <class Tree, class F>
void mark(F& f, Mark::Kind kind) {
  if constexpr (is_overlaid<Tree> && requires { f.mark(kind); }) f.mark(kind);
}

/// Calls f(path, a, b, ...) for the same leaf of equally shaped trees. Without Named the paths hold
/// no fields: the names of types without linkage cannot be asked for.
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

/// Calls f(a, b, ...) for the same leaf of equally shaped trees, in declaration order. f is
/// compiled for every type of leaf: a loop over leaves() is the better choice where run-time shapes
/// do.
template <class F, class Tree, class... Same>
void for_each_leaf(F&& f, Tree& tree, Same&... same) {
  const auto call = [&](const detail::Path&, auto&... leaf) { f(leaf...); };
  detail::walk<false>(call, {}, tree, same...);
}

/// The same with the leaf's path in front: f("blocks.0.attn.q.weight", a, b, ...).
template <class F, class Tree, class... Same>
void for_each_named_leaf(F&& f, const std::string& path, Tree& tree, Same&... same) {
  const auto call = [&](const detail::Path& at, auto&... leaf) { f(at.text(), leaf...); };
  detail::walk<true>(call, {nullptr, path}, tree, same...);
}

/// The shape of a leaf as run-time numbers, and where the leaf lies in its tree.
struct LeafInfo {
  std::size_t value_bytes;  // of one number
  std::size_t size;         // numbers; of Rows: for each token
  int rows, cols, count;    // Param: matrices. Rows: rows of each token
  Role role;                // of Param
  bool per_token;           // whether this is a leaf of type Rows
  std::size_t offset = 0;   // in bytes

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

/// Every leaf starts on a multiple of this many bytes.
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

/// The leaves as they are met. One copy of the code for all leaves: see for_each_leaf.
struct LeafTable {
  const void* tree;
  std::vector<LeafInfo> leaves = {};
  std::vector<Mark> marks = {};

  template <class Leaf>
  void operator()(const Path&, Leaf& leaf) {
    static_assert(std::is_standard_layout_v<Leaf>);  // the pointer lies at the start
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

/// Gives every leaf of a tree its place; null `tree` or `at`: only counts.
struct Binder {
  const LeafTable& table;
  void* tree;
  std::byte* at;
  int tokens;
  std::size_t leaf = 0, mark = 0;

  /// The leaves from here to the end of the field or tree, from byte `used` on; gives their end.
  std::size_t run(std::size_t used) {
    for (;;) {
      if (mark < table.marks.size() && table.marks[mark].leaf == leaf) {
        if (table.marks[mark++].kind != Mark::overlay) return used;
        std::size_t most = used;
        do most = std::max(most, run(used));
        while (table.marks[mark - 1].kind == Mark::field);
        used = most;
      } else if (leaf < table.leaves.size()) {
        used += place(table.leaves[leaf++], used);
      } else {
        return used;
      }
    }
  }
  std::size_t place(const LeafInfo& info, std::size_t used) const {
    if (tree) {
      std::byte* const here = static_cast<std::byte*>(tree) + info.offset;
      const void* const data = at ? at + used : nullptr;
      const int count = tokens * info.rows;
      std::memcpy(here, &data, sizeof data);
      if (info.per_token) std::memcpy(here + sizeof data, &count, sizeof count);
    }
    return info.bytes(tokens);
  }
};

}  // namespace detail

/// The leaves of a tree in declaration order, listed once for each type. What a library does to
/// every leaf is a loop over them, so that compile time does not grow with the number of leaves.
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

/// A leaf of `tree`, whose numbers are of type T.
template <class T, class Tree>
LeafView<T> view(Tree& tree, const LeafInfo& leaf) {
  MOE_EXPECTS(leaf.value_bytes == sizeof(T), "a leaf was viewed as numbers of another size");
  T* data;
  std::memcpy(&data, reinterpret_cast<const std::byte*>(&tree) + leaf.offset, sizeof data);
  return {data, leaf.role, leaf.rows, leaf.cols, leaf.count, leaf.size};
}

/// Points every leaf into the memory at `at` (null: only counts) and gives the bytes used. Leaves
/// follow each other, but for the fields of overlaid trees.
/// Row counts of activations become tokens * per_token.
template <class Tree>
std::size_t bind(Tree& tree, std::byte* at, int tokens = 0) {
  return detail::Binder{detail::leaf_table<Tree>(), &tree, at, tokens}.run(0);
}

/// Bytes of a tree for a batch of `tokens` tokens, alignment included.
template <class Tree>
std::size_t bytes(int tokens = 0) {
  return detail::Binder{detail::leaf_table<Tree>(), nullptr, nullptr, tokens}.run(0);
}

}  // namespace moe
