#pragma once
#include <algorithm>
#include <moe/backend/backend.hpp>
#include <moe/backend/cpu/gemm/blocked.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA::detail {

/// Of the products of Kernel: the registers of queries in a block, how many of these are computed
/// at least, and the keys that are computed together.
template <class Kernel, class W>
struct AttentionLayout {
  static constexpr int packs = 2, min_packs = 1, rows = Tile<W>::rows;
};

/// One block of queries of one head: its position in q, k and v, and the workspace of its thread.
template <class Kernel, class W, class T>
struct AttentionBlock {
  using Layout = AttentionLayout<Kernel, W>;
  static constexpr int rows = Layout::rows, packs = Layout::packs, width = Tile<W>::width,
                       lanes = packs * width;

  const AttentionShape& s;
  W *k_steps, *v_steps, *k_columns, *v_columns;    // all keys of one key head
  W *q_steps, *do_steps, *q_columns, *do_columns;  // the block's queries
  W *p, *dp, *drop;                                // (keys, lanes)
  W* ds;  // the gradient of the scores by queries, where that is another form than by keys
  W *result, *dkey, *dvalue;  // (lanes, dim), (keys, dim) x 2; rows are `row` apart
  int row;
  std::size_t numbers;
  std::ptrdiff_t sequence = 0, kv_head = 0, head = 0;
  int first = 0, count = 0, registers = 0, keys = 0;  // keys: as many as the last query sees
  const T *key = nullptr, *value = nullptr;

  AttentionBlock(const AttentionShape& shape, W* at) : s(shape) {
    std::size_t used = 0;
    const auto take = [&](int n, int m) {
      W* const here = at ? at + used : nullptr;
      const int panels = 1 + n / rows + m / lanes;  // each panel may end in padding
      used += (std::size_t(n) * std::size_t(m) +
               std::size_t(panels) * std::size_t(16 + panel_room) + 63) /
              64 * 64;
      return here;
    };
    const int all = round_up(s.keys, rows), wide = round_up(s.head_dim, lanes);
    row = round_up(s.head_dim, 16);
    k_steps = take(all, wide);
    v_steps = take(all, wide);
    k_columns = take(all, wide);
    v_columns = take(all, wide);
    q_steps = take(lanes, wide);
    do_steps = take(lanes, wide);
    q_columns = take(lanes, wide);
    do_columns = take(lanes, wide);
    p = take(all, lanes);
    dp = take(all, lanes);
    ds = take(all, std::is_same_v<T, W> ? 0 : lanes);
    drop = take(all, s.dropout.active() ? lanes : 0);
    result = take(lanes, row);
    dkey = take(all, row);
    dvalue = take(all, row);
    numbers = used;
  }

  int group() const { return s.heads / s.kv_heads; }
  std::ptrdiff_t query_stride() const { return std::ptrdiff_t(s.heads) * s.head_dim; }
  std::ptrdiff_t key_stride() const { return std::ptrdiff_t(s.kv_heads) * s.head_dim; }
  std::ptrdiff_t key_at() const {
    return sequence * s.key_rows * key_stride() + kv_head * s.head_dim;
  }
  std::ptrdiff_t query_at() const {
    return (sequence * s.queries + first) * query_stride() + head * s.head_dim;
  }
  /// The last key that query `first + lane` sees.
  int last_key(int lane) const { return s.keys - s.queries + first + lane; }
  std::ptrdiff_t lse_at(int lane) const {
    return (sequence * s.queries + first + lane) * s.heads + head;
  }

  void own(int owner, const T* k, const T* v) {
    sequence = owner / s.kv_heads;
    kv_head = owner % s.kv_heads;
    key = k + key_at();
    value = v + key_at();
  }
  void select(int h, int first_query) {
    head = kv_head * group() + h;
    first = first_query;
    count = std::min(lanes, s.queries - first);
    registers = std::max(Layout::min_packs, ceil_div(count, width));
    keys = last_key(count - 1) + 1;
  }
};

}  // namespace moe::detail
