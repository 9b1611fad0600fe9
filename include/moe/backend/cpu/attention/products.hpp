#pragma once
#include <algorithm>
#include <moe/backend/cpu/attention/block.hpp>
#include <moe/backend/cpu/gemm/bf16_dot.hpp>
#include <moe/backend/cpu/gemm/blocked.hpp>

namespace moe::inline MOE_ISA::detail {

/// The products of attention for one block of queries, with the micro-kernel of `Kernel`. Panels
/// are packed by steps, with the head's numbers as terms of the sum, or by columns, with rows as
/// terms.
template <class Kernel, class W, class T>
struct AttentionProducts {
  using Block = AttentionBlock<Kernel, W, T>;
  static constexpr int rows = Block::rows, packs = Block::packs, width = Block::width,
                       lanes = Block::lanes, terms = Kernel::terms;
  static constexpr int height = rows > 8 ? 8 : rows;  // queries of a tile; divides `lanes`
  static constexpr int key_block = 128;               // keys in a block of by_queries

  static void pack_keys(const T* from, const Block& b, W* to) {
    Kernel::template pack<rows>(Operand<T>{from, b.key_stride(), 1}, b.s.keys, b.s.head_dim, to);
  }
  static void pack_key_columns(const T* from, const Block& b, W* to) {
    Kernel::template pack<lanes>(Operand<T>{from, 1, b.key_stride()}, b.s.head_dim, b.s.keys, to);
  }
  static void pack_queries(const T* from, const Block& b, W* to) {
    Kernel::template pack<lanes>(Operand<T>{from, b.query_stride(), 1}, b.count, b.s.head_dim, to);
  }
  static void pack_query_columns(const T* from, const Block& b, W* to) {
    Kernel::template pack<lanes>(Operand<T>{from, 1, b.query_stride()}, b.s.head_dim, b.count, to);
  }

  /// to (keys, lanes) = alpha * left right^T, for the keys that the block sees.
  static void score(const Block& b, const W* left, const W* right, W* to, W alpha) {
    const Epilogue<W> finish{alpha, W(0), nullptr, {}};
    const int k = steps(b.s.head_dim);
    for (int i = 0; i < b.keys; i += rows, left += panel_step<rows>(k))
      for_packs<packs>(b.registers, [&]<int V>(std::integral_constant<int, V>) {
        Kernel::template tile<W, rows, V, 1>(rows, V * width, k, left, rows, right, lanes,
                                             to + i * lanes, lanes, finish);
      });
  }

  /// result (queries, dim) = sum over keys of left (keys, lanes) right (keys, dim), in blocks of
  /// keys that fit the first-level cache.
  static void by_queries(const Block& b, const W* left, const W* right) {
    const int dim = b.s.head_dim;
    for (int j = 0; j < b.keys; j += key_block) {
      const Epilogue<W> finish{W(1), j == 0 ? W(0) : W(1), nullptr, {}};
      const int keys = std::min(key_block, b.keys - j);
      for (int d = 0; d < dim; d += lanes) {
        const int cols = std::min(lanes, dim - d);
        const W* columns =
            right + d / lanes * panel_step<lanes>(steps(b.s.keys)) + j / terms * lanes;
        for (int i = 0; i < b.count; i += height)
          for_packs<packs>(ceil_div(cols, width), [&]<int V>(std::integral_constant<int, V>) {
            Kernel::template tile<W, height, V, 1>(std::min(height, b.count - i), cols, steps(keys),
                                                   left + j / terms * lanes + i, lanes, columns,
                                                   lanes, b.result + i * b.row + d, b.row, finish);
          });
      }
    }
  }

  /// to (keys, dim) += sum over the block's queries of left (keys, lanes) right (queries, dim).
  static void by_keys(const Block& b, const W* left, const W* right, W* to) {
    const Epilogue<W> finish{W(1), W(1), nullptr, {}};
    const int dim = b.s.head_dim;
    for (int d = 0; d < dim; d += lanes) {
      const int cols = std::min(lanes, dim - d);
      const W* columns = right + d / lanes * panel_step<lanes>(steps(b.count));
      for (int i = 0; i < b.keys; i += rows)
        for_packs<packs>(ceil_div(cols, width), [&]<int V>(std::integral_constant<int, V>) {
          Kernel::template tile<W, rows, V, lanes>(std::min(rows, b.keys - i), cols, steps(b.count),
                                                   left + i * lanes, 1, columns, lanes,
                                                   to + i * b.row + d, b.row, finish);
        });
    }
  }

  template <int V, class F>
  static void for_packs(int count, const F& f) {
    if constexpr (V > 1)
      if (count < V) return for_packs<V - 1>(count, f);
    f(std::integral_constant<int, V>{});
  }

 private:
  /// Packed steps of a sum over n terms.
  static constexpr int steps(int n) { return ceil_div(n, terms); }
};

}  // namespace moe::detail
