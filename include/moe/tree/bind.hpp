#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <moe/tree/leaves.hpp>

namespace moe::inline MOE_ISA {
namespace detail {

/// Assigns memory to every leaf of a tree. If `tree` or `at` is null, only the bytes are counted.
struct Binder {
  const LeafTable& table;
  void* tree;
  std::byte* at;
  int tokens;
  std::size_t leaf = 0, mark = 0;

  /// Places the leaves from here to the end of the field or tree, from byte `used` on. Returns the
  /// end of the bytes used.
  std::size_t run(std::size_t used) {
    for (;;) {
      if (mark < table.marks.size() && table.marks[mark].leaf == leaf) {
        if (table.marks[mark++].kind != Mark::overlay) return used;
        std::size_t max_used = used;
        do max_used = std::max(max_used, run(used));
        while (table.marks[mark - 1].kind == Mark::field);
        used = max_used;
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

/// Points every leaf of the tree into the memory at `at` (null: only counts bytes) and sets the row
/// counts of activations to tokens * per_token. Returns the bytes used. Leaves are contiguous,
/// except that the fields of an overlaid tree share their bytes.
template <class Tree>
std::size_t bind(Tree& tree, std::byte* at, int tokens = 0) {
  return detail::Binder{detail::leaf_table<Tree>(), &tree, at, tokens}.run(0);
}

/// Bytes of a tree for a batch of `tokens` tokens, including alignment.
template <class Tree>
std::size_t bytes(int tokens = 0) {
  return detail::Binder{detail::leaf_table<Tree>(), nullptr, nullptr, tokens}.run(0);
}

}  // namespace moe
