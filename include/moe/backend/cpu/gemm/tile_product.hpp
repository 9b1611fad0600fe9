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

/// Two adjacent rows of tiles of the left factor, or two columns of the right one: where the first
/// tile of each is, the distance of two rows of numbers in a tile, and that of two tiles, in bytes.
struct TilePair {
  const char *first, *second;
  std::ptrdiff_t row_bytes, advance;

  /// Packed tiles, in turn of the first and of the second.
  explicit TilePair(const PackedTile* packed)
      : TilePair(packed, packed + 1, sizeof packed->word[0], 2 * sizeof *packed) {}
  TilePair(const void* one, const void* other, std::ptrdiff_t row, std::ptrdiff_t tile)
      : first(static_cast<const char*>(one)),
        second(static_cast<const char*>(other)),
        row_bytes(row),
        advance(tile) {}
};

/// sums (32 x 32, rows `step` apart) = the product of `count` pairs of left and right tiles, or, if
/// Add, sums + this product. A square with at most 16 rows has no lower tiles (not Tall), one with
/// at most 16 columns no right ones (not Wide): their sums are neither read nor written.
template <bool Add, bool Tall, bool Wide, class Unit>
void multiply_square(Unit& unit, TilePair a, TilePair b, int count, float* sums,
                     std::ptrdiff_t step) {
  const std::ptrdiff_t row = step * std::ptrdiff_t(sizeof(float));
  const auto start = [&]<int R>(std::integral_constant<int, R>, const float* from) {
    if constexpr (Add)
      unit.template load<R>(from, row);
    else
      unit.template zero<R>();
  };
  float *const right = sums + tile_side, *const lower = sums + tile_side * step;
  start(std::integral_constant<int, 0>{}, sums);
  if constexpr (Wide) start(std::integral_constant<int, 1>{}, right);
  if constexpr (Tall) start(std::integral_constant<int, 2>{}, lower);
  if constexpr (Tall && Wide) start(std::integral_constant<int, 3>{}, lower + tile_side);
  for (int l = 0; l < count; ++l) {
    unit.template load<6>(b.first, b.row_bytes);
    unit.template load<4>(a.first, a.row_bytes);
    unit.template multiply<0, 4, 6>();
    if constexpr (Wide) {
      unit.template load<7>(b.second, b.row_bytes);
      unit.template multiply<1, 4, 7>();
    }
    if constexpr (Tall) {
      unit.template load<5>(a.second, a.row_bytes);
      unit.template multiply<2, 5, 6>();
    }
    if constexpr (Tall && Wide) unit.template multiply<3, 5, 7>();
    a.first += a.advance, a.second += a.advance;
    b.first += b.advance, b.second += b.advance;
  }
  unit.template store<0>(sums, row);
  if constexpr (Wide) unit.template store<1>(right, row);
  if constexpr (Tall) unit.template store<2>(lower, row);
  if constexpr (Tall && Wide) unit.template store<3>(lower + tile_side, row);
}
template <bool Add = false, class Unit>
void multiply_square(Unit& unit, int rows, int cols, const TilePair& a, const TilePair& b,
                     int count, float* sums, std::ptrdiff_t step = TileBlocking::side) {
  const bool tall = rows > tile_side, wide = cols > tile_side;
  if (tall && wide) return multiply_square<Add, true, true>(unit, a, b, count, sums, step);
  if (tall) return multiply_square<Add, true, false>(unit, a, b, count, sums, step);
  if (wide) return multiply_square<Add, false, true>(unit, a, b, count, sums, step);
  multiply_square<Add, false, false>(unit, a, b, count, sums, step);
}

/// Packs 32 rows of an operand, of which `rows` exist: the two tiles of the first 32 terms, then
/// those of the next.
template <class Packing, Side S, class E>
void pack_tile_pairs(const Operand<E>& x, int rows, int steps, PackedTile* to) {
  for (int l = 0; l < steps; l += tile_terms)
    for (int i = 0; i < TileBlocking::side; i += tile_side)
      Packing::template pack<S>(x.from(std::min(i, rows), l), std::clamp(rows - i, 0, tile_side),
                                std::min(tile_terms, steps - l), *to++);
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
  for (int j = 0; j < n; j += most_cols) {
    const int cols = std::min(most_cols, n - j);
    int l = 0;
    do {  // runs once even if k = 0: C gets bias + beta * C
      const int steps = std::min(most_steps, k - l), count = ceil_div(steps, tile_terms);
      for (int s = 0; s < cols; s += side)
        pack_tile_pairs<Packing, Side::right>(b.from(j + s, l), cols - s, steps,
                                              b_block + s / tile_side * count);
      for (int i = 0; i < m; i += side) {
        const Operand<A> strip = a.from(i, l);
        TilePair left(a_block);
        if (std::is_same_v<A, bfloat16> && a.along_l() && !a.i_table && m - i >= side &&
            steps % tile_terms == 0) {
          left = TilePair(strip.row(0), strip.row(tile_side),
                          std::ptrdiff_t(sizeof(A)) * strip.i_stride, tile_terms * sizeof(A));
        } else {
          pack_tile_pairs<Packing, Side::left>(strip, m - i, steps, a_block);
        }
        for (int s = 0; s < cols; s += side) {
          const int rows = std::min(side, m - i), width = std::min(side, cols - s);
          multiply_square(unit, rows, width, left, TilePair(b_block + s / tile_side * count), count,
                          sums);
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
