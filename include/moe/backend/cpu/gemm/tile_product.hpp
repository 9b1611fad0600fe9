#pragma once
#include <algorithm>
#include <moe/backend/cpu/gemm/blocked.hpp>
#include <moe/backend/cpu/gemm/tile_pack.hpp>

// The matrix product of one thread on the matrix unit. C is computed in squares of 2 x 2 tiles:
// four products for four loads. B is packed for a block of columns; the rows of A are read where
// they are if they have the form of a tile, and packed otherwise.
//
// An element of C is a sum over blocks of k, which depend on k only. In a block it is one chain
// over products of tiles. So its bits depend neither on the other rows and columns nor on the
// threads. They differ from those of a chain of FMAs.

namespace moe::inline MOE_ISA::detail {

struct TileBlocking {
  static constexpr int side = 2 * tile_side;  // rows and columns of C that are computed at a time
  static constexpr int max_whole = 1536, max_steps = 1024;
  static constexpr int a_tiles = 2 * max_whole / tile_terms;
  static constexpr int b_tiles = 1024;  // 1 MB, half of a second-level cache
  static constexpr std::size_t bytes =
      std::size_t(a_tiles + b_tiles) * sizeof(PackedTile) + side * side * sizeof(float);

  /// Steps in a block of k: all of a short sum, otherwise equal blocks of whole tiles.
  static int steps(int k) {
    return k <= max_whole ? k : round_up(ceil_div(k, ceil_div(k, max_steps)), tile_terms);
  }
  /// Columns in a block of n: equal blocks, whose tiles fit.
  static int cols(int n, int steps) {
    const int panels = ceil_div(n, side);
    const int most = b_tiles / (2 * std::max(1, ceil_div(steps, tile_terms)));
    return ceil_div(panels, ceil_div(panels, most)) * side;
  }
};
static_assert(TileBlocking::bytes <= Blocking<float>::workspace_numbers * sizeof(float));

/// Two rows of tiles of the left factor: where the first of each is, the distance of two rows of
/// numbers and that of two tiles, in bytes.
struct LeftTiles {
  const char *upper, *lower;
  std::ptrdiff_t row_bytes, advance;
};

/// sums (32 x 32) = the product of `count` pairs of left and right tiles. A square with at most 16
/// rows has no lower tiles (not Tall), one with at most 16 columns no right ones (not Wide): their
/// sums are not written.
template <bool Tall, bool Wide, class Unit>
void multiply_square(Unit& unit, LeftTiles a, const PackedTile* b, int count, float* sums) {
  constexpr std::ptrdiff_t packed = sizeof b->word[0];
  unit.template zero<0>();
  if constexpr (Wide) unit.template zero<1>();
  if constexpr (Tall) unit.template zero<2>();
  if constexpr (Tall && Wide) unit.template zero<3>();
  for (int l = 0; l < count; ++l, a.upper += a.advance, a.lower += a.advance, b += 2) {
    unit.template load<6>(b, packed);
    unit.template load<4>(a.upper, a.row_bytes);
    unit.template multiply<0, 4, 6>();
    if constexpr (Wide) {
      unit.template load<7>(b + 1, packed);
      unit.template multiply<1, 4, 7>();
    }
    if constexpr (Tall) {
      unit.template load<5>(a.lower, a.row_bytes);
      unit.template multiply<2, 5, 6>();
    }
    if constexpr (Tall && Wide) unit.template multiply<3, 5, 7>();
  }
  constexpr int side = TileBlocking::side;
  constexpr std::ptrdiff_t row = side * sizeof(float);
  unit.template store<0>(sums, row);
  if constexpr (Wide) unit.template store<1>(sums + tile_side, row);
  if constexpr (Tall) unit.template store<2>(sums + tile_side * side, row);
  if constexpr (Tall && Wide) unit.template store<3>(sums + tile_side * side + tile_side, row);
}
template <class Unit>
void multiply_square(Unit& unit, int rows, int cols, const LeftTiles& a, const PackedTile* b,
                     int count, float* sums) {
  const bool tall = rows > tile_side, wide = cols > tile_side;
  if (tall && wide) return multiply_square<true, true>(unit, a, b, count, sums);
  if (tall) return multiply_square<true, false>(unit, a, b, count, sums);
  if (wide) return multiply_square<false, true>(unit, a, b, count, sums);
  multiply_square<false, false>(unit, a, b, count, sums);
}

/// c = alpha * sums + bias + beta * c for a part of a square. Numbers at the edge of C go through a
/// buffer, so that all go through the same instructions.
template <class C>
void finish_square(int rows, int cols, const float* sums, C* c, std::ptrdiff_t ldc,
                   const GemmOptions<float>& o) {
  using Pack = Register<float>;
  constexpr int side = TileBlocking::side, width = batch_width<float>;
  constexpr Lane<Pack> here{0};
  const Epilogue<float> finish{o.alpha, o.beta, nullptr, {}};
  alignas(64) float bias[side] = {};
  if (o.bias) std::copy_n(o.bias, cols, bias);
  for (int r = 0; r < rows; ++r, sums += side, c += ldc)
    for (int s = 0; s < cols; s += width) {
      C edge[width] = {};
      const int inside = std::min(width, cols - s);
      C* const at = inside == width ? c + s : edge;
      Pack value = finish.scaled(Pack::load_unaligned(sums + s), Pack::load_unaligned(bias + s));
      if (o.beta != 0) {
        if (at == edge) std::copy_n(c + s, inside, edge);
        value = finish.added(value, load(static_cast<const C*>(at), here));
      }
      store(at, here, value);
      if (at == edge) std::copy_n(edge, inside, c + s);
    }
}

/// The product on one thread, on the tiles of `Unit`, packed by `Packing`. A and B are bfloat16, or
/// rounded to it.
template <class Unit, class Packing, class A, class B, class C>
void multiply_on_tiles(int m, int n, int k, const Operand<A>& a, const Operand<B>& b, C* c,
                       std::ptrdiff_t ldc, const GemmOptions<float>& o, float* workspace) {
  if (m <= 0 || n <= 0) return;
  constexpr int side = TileBlocking::side;
  const int most_steps = TileBlocking::steps(k), most_cols = TileBlocking::cols(n, most_steps);
  if constexpr (!std::is_same_v<C, float>) {
    if (k > most_steps)
      return through_wide_sums<float>(
          m, n, c, ldc, o, workspace,
          [&](int i, int rows, int j, int cols, float* sums, const GemmOptions<float>& part) {
            multiply_on_tiles<Unit, Packing>(rows, cols, k, a.from(i, 0), b.from(j, 0), sums, cols,
                                             part, workspace);
          });
  }
  auto* const a_block = reinterpret_cast<PackedTile*>(workspace);
  PackedTile* const b_block = a_block + TileBlocking::a_tiles;
  auto* const sums = reinterpret_cast<float*>(b_block + TileBlocking::b_tiles);
  [[maybe_unused]] const typename Unit::Session session;
  Unit unit;
  /// Packs 32 rows of an operand: the two tiles of the first 32 terms, then those of the next.
  const auto pack = [&]<Side S, class E>(std::integral_constant<Side, S>, const Operand<E>& x,
                                         int rows, int steps, PackedTile* to) {
    for (int l = 0; l < steps; l += tile_terms)
      for (int i = 0; i < side; i += tile_side)
        Packing::template pack<S>(x.from(std::min(i, rows), l), std::clamp(rows - i, 0, tile_side),
                                  std::min(tile_terms, steps - l), *to++);
  };
  for (int j = 0; j < n; j += most_cols) {
    const int cols = std::min(most_cols, n - j);
    int l = 0;
    do {  // runs once even if k = 0: C gets bias + beta * C
      const int steps = std::min(most_steps, k - l), count = ceil_div(steps, tile_terms);
      for (int s = 0; s < cols; s += side)
        pack(std::integral_constant<Side, Side::right>{}, b.from(j + s, l), cols - s, steps,
             b_block + s / tile_side * count);
      for (int i = 0; i < m; i += side) {
        const Operand<A> strip = a.from(i, l);
        LeftTiles left{reinterpret_cast<const char*>(a_block),
                       reinterpret_cast<const char*>(a_block + 1), sizeof a_block->word[0],
                       2 * sizeof *a_block};
        if (std::is_same_v<A, bfloat16> && a.along_l() && !a.i_table && m - i >= side &&
            steps % tile_terms == 0) {
          left = {reinterpret_cast<const char*>(strip.row(0)),
                  reinterpret_cast<const char*>(strip.row(tile_side)),
                  std::ptrdiff_t(sizeof(A)) * strip.i_stride, tile_terms * sizeof(A)};
        } else {
          pack(std::integral_constant<Side, Side::left>{}, strip, m - i, steps, a_block);
        }
        for (int s = 0; s < cols; s += side) {
          const int rows = std::min(side, m - i), width = std::min(side, cols - s);
          multiply_square(unit, rows, width, left, b_block + s / tile_side * count, count, sums);
          GemmOptions<float> finish = o;
          if (o.bias) finish.bias = l == 0 ? o.bias + j + s : nullptr;
          if (l > 0) finish.beta = 1;
          finish_square(rows, width, sums, c + i * ldc + j + s, ldc, finish);
        }
      }
      l += steps;
    } while (l < k);
  }
}

}  // namespace moe::detail
