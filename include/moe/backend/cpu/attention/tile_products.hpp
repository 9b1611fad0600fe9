#pragma once
#include <algorithm>
#include <moe/backend/cpu/attention/products.hpp>
#include <moe/backend/cpu/attention/softmax.hpp>
#include <moe/backend/cpu/gemm/tile_product.hpp>

// Attention on the matrix unit. A block has 32 queries, the terms of one product of tiles.

namespace moe::inline MOE_ISA::detail {

/// The kernel of attention whose products run on the tiles of Unit, packed by Packing.
template <class Unit, class Packing>
struct OnTiles {
  using Session = typename Unit::Session;
  static constexpr int terms = 2;
};

template <class Unit, class Packing>
struct AttentionLayout<OnTiles<Unit, Packing>, float> {
  static constexpr int rows = square_side, packs = rows / Tile<float>::width, min_packs = packs;
};

/// A pair is two keys of a query, in row j / 2, or two queries of a key, in row j; in a tile its
/// earlier term comes first in memory. Rows up to a whole number of tiles are 0.
template <class Unit, class Packing>
class OperandWriter<OnTiles<Unit, Packing>, float, bfloat16> {
 public:
  using Pack = Register<float>;
  using Block = AttentionBlock<OnTiles<Unit, Packing>, float, bfloat16>;

  OperandWriter(int pack, float* over_keys, float* over_queries)
      : over_keys_(over_keys ? narrow(over_keys + pack * width) : nullptr),
        over_queries_(over_queries ? narrow(over_queries) + pack * width : nullptr) {}

  void write(int j, const Pack& value) {
    constexpr Lane<Pack> here{0};
    if (over_queries_) store(over_queries_ + j * row, here, value);
    if (!over_keys_) return;
    store(pair_[j % 2], here, value);
    if (j % 2 == 1)
      for (int l = 0; l < width; ++l)
        for (const int term : {0, 1}) over_keys_[j / 2 * row + 2 * l + term] = pair_[term][l];
  }
  /// To be called after the last of `keys` keys.
  void finish(int keys) {
    for (int j = keys; j < round_up(keys, Block::rows); ++j) write(j, Pack(0.0f));
  }

 private:
  static constexpr int width = Block::width, row = 2 * Block::lanes;
  static bfloat16* narrow(float* at) { return reinterpret_cast<bfloat16*>(at); }
  bfloat16 *over_keys_, *over_queries_, pair_[2][width];
};

template <class Unit, class Packing>
struct AttentionProducts<OnTiles<Unit, Packing>, float, bfloat16> {
  using Block = AttentionBlock<OnTiles<Unit, Packing>, float, bfloat16>;
  using Numbers = Operand<bfloat16>;
  static constexpr int side = square_side, lanes = Block::lanes;
  static_assert(lanes == side && lanes == tile_terms);

  static void pack_keys(const bfloat16* from, const Block& b, float* to) {
    pack<Side::left>(Numbers{from, b.key_stride(), 1}, b.s.keys, b.s.head_dim, to);
  }
  static void pack_key_columns(const bfloat16* from, const Block& b, float* to) {
    pack<Side::left>(Numbers{from, 1, b.key_stride()}, b.s.head_dim, b.s.keys, to);
  }
  static void pack_queries(const bfloat16* from, const Block& b, float* to) {
    pack<Side::right>(Numbers{from, b.query_stride(), 1}, b.count, b.s.head_dim, to);
  }
  static void pack_query_columns(const bfloat16* from, const Block& b, float* to) {
    pack<Side::right>(Numbers{from, 1, b.query_stride()}, b.s.head_dim, b.count, to);
  }

  /// to (keys, lanes) = alpha * left right^T, for the keys that the block sees.
  static void score(const Block& b, const float* left, const float* right, float* to, float alpha) {
    Unit unit;
    const int count = products(b.s.head_dim);
    for (int i = 0; i < b.keys; i += side, to += side * lanes) {
      multiply_square(unit, b.keys - i, lanes, TilePair(tiles(left) + i / tile_side * count),
                      TilePair(tiles(right)), count, to);
      const int numbers = std::min(side, b.keys - i) * lanes;
      if (alpha != 1)
        for (int at = 0; at < numbers; at += Block::width)
          (Register<float>(alpha) * Register<float>::load_unaligned(to + at))
              .store_unaligned(to + at);
    }
  }

  /// result (queries, dim) = sum over keys of left (keys, lanes) right (keys, dim), computed as
  /// right^T left and transposed.
  static void by_queries(const Block& b, const float* left, const float* right) {
    Unit unit;
    alignas(64) float sums[side * side];
    const int count = products(b.keys), panel = products(b.s.keys);
    const std::ptrdiff_t row = lanes * std::ptrdiff_t(sizeof(float));
    for (int d = 0; d < b.row; d += side) {
      const int dims = std::min(side, b.row - d);
      multiply_square(unit, dims, lanes, TilePair(tiles(right) + d / tile_side * panel),
                      TilePair(left, left + tile_side, row, tile_side * row), count, sums);
      constexpr int width = Block::width;
      for (int lane = 0; lane < b.count; lane += width)
        for (int i = 0; i < dims; i += width) {
          const float* from[width];
          for (int r = 0; r < width; ++r) from[r] = sums + (i + r) * side + lane;
          transpose_square(from, b.result + lane * b.row + d + i, b.row);
        }
    }
  }

  /// to (keys, dim) += sum over the block's queries of left (keys, lanes) right (queries, dim).
  static void by_keys(const Block& b, const float* left, const float* right, float* to) {
    Unit unit;
    const std::ptrdiff_t row = lanes * std::ptrdiff_t(sizeof(float));
    for (int i = 0; i < b.keys; i += side)
      for (int d = 0; d < b.row; d += side)
        multiply_square<1, true>(unit, b.keys - i, b.row - d,
                                 TilePair(left + i * lanes, left + (i + tile_side) * lanes, row, 0),
                                 TilePair(tiles(right) + d / tile_side), 1, to + i * b.row + d,
                                 b.row);
  }

 private:
  /// Products of tiles in a sum over n terms.
  static int products(int n) { return ceil_div(n, tile_terms); }
  static const PackedTile* tiles(const float* at) {
    return reinterpret_cast<const PackedTile*>(at);
  }
  template <Side S>
  static void pack(const Numbers& x, int n, int steps, float* to) {
    auto* at = reinterpret_cast<PackedTile*>(to);
    for (int i = 0; i < n; i += side, at += 2 * products(steps))
      pack_tile_pairs<Packing, S>(x.from(i, 0), n - i, steps, at);
  }
};

}  // namespace moe::detail
