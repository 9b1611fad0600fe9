#pragma once
#include <algorithm>
#include <cmath>
#include <iterator>
#include <moe/backend/cpu/gemm/blocked.hpp>
#include <moe/backend/cpu/gemm/tile_pack.hpp>

// The matrix product of one thread on the matrix unit. C is computed in squares of 2 x 2 tiles:
// four products for four loads. B is packed for a block of columns; the rows of A are read where
// they are if they have the form of a tile, and packed otherwise.
//
// The product of two floats is a sum of products of their parts: of nine, the six that are not
// below the rounding of a float. All are added to the same tile of C: 24 products of tiles for 16
// loads. Source: Henry, Tang & Heinecke 2019, arXiv:1904.06376.
//
// An element of C is a sum over blocks of k, which depend on k only. In a block it is one chain
// over products of tiles. So its bits depend neither on the other rows and columns nor on the
// threads. They differ from those of a chain of FMAs.

namespace moe::inline MOE_ISA::detail {

inline constexpr int square_side = 2 * tile_side;  // rows and columns of C computed at a time

/// The blocks of a product whose elements have Parts parts. Their tiles take the same memory for
/// any number of parts.
template <int Parts>
struct TileBlocking {
  static constexpr int max_whole = 1536 / Parts;
  static constexpr int max_steps = 1024 / Parts / tile_terms * tile_terms;
  static constexpr int a_tiles = 2 * Parts * max_whole / tile_terms;
  static constexpr int b_tiles = 1024;  // 1 MB, half of a second-level cache
  static constexpr std::size_t bytes = std::size_t(a_tiles + b_tiles) * sizeof(PackedTile) +
                                       square_side * square_side * sizeof(float);

  /// Steps in a block of k: all of a short sum, otherwise equal blocks of whole tiles.
  static int steps(int k) {
    return k <= max_whole ? k : round_up(ceil_div(k, ceil_div(k, max_steps)), tile_terms);
  }
  /// Columns in a block of n: equal blocks, whose tiles fit.
  static int cols(int n, int steps) {
    const int panels = ceil_div(n, square_side);
    const int most = b_tiles / (2 * Parts * std::max(1, ceil_div(steps, tile_terms)));
    return ceil_div(panels, ceil_div(panels, most)) * square_side;
  }
};
static_assert(TileBlocking<1>::bytes <= Blocking<float>::workspace_numbers * sizeof(float));
static_assert(TileBlocking<3>::bytes <= Blocking<float>::workspace_numbers * sizeof(float));

/// Which part of the left factor is multiplied with which part of the right one; 0 is the high
/// part.
struct PartProduct {
  int left, right;
};
/// The products of parts in their order. That of the high parts, which is by far the largest, is
/// the last: in a block of k it is added after all others, so that these are added to small sums.
/// Each of the others has a part of the one before it, whose tiles are not loaded again.
template <int Parts>
inline constexpr PartProduct part_products[] = {{0, 0}};
template <>
inline constexpr PartProduct part_products<3>[] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}};
template <int Parts>
inline constexpr int last_product = int(std::size(part_products<Parts>)) - 1;

/// Two adjacent rows of tiles of the left factor, or two columns of the right one: where the first
/// tile of each is, the distance of two rows of numbers in a tile, and that of two steps along the
/// sum, in bytes. The parts of a tile lie side by side.
struct TilePair {
  const char *first, *second;
  std::ptrdiff_t row_bytes, advance;

  /// Packed tiles of so many parts, in turn of the first and of the second.
  explicit TilePair(const PackedTile* packed, int parts = 1)
      : TilePair(packed, packed + parts, sizeof packed->word[0],
                 2 * parts * std::ptrdiff_t(sizeof *packed)) {}
  TilePair(const void* one, const void* other, std::ptrdiff_t row, std::ptrdiff_t tile)
      : first(static_cast<const char*>(one)),
        second(static_cast<const char*>(other)),
        row_bytes(row),
        advance(tile) {}
};

/// Adds to a square, which is in the tiles 0 ... 3, the product of `count` pairs of left and right
/// tiles: its products of parts from number First to the one before End.
template <bool Tall, bool Wide, int Parts, int First, int End, class Unit>
void add_products(Unit& unit, TilePair a, TilePair b, int count) {
  for (int l = 0; l < count; ++l) {
    unroll<End - First>([&](auto step) __attribute__((always_inline)) {
      constexpr PartProduct now = part_products<Parts>[First + step];
      constexpr PartProduct before =
          step > 0 ? part_products<Parts>[First + step - 1] : PartProduct{-1, -1};
      constexpr bool new_left = now.left != before.left, new_right = now.right != before.right;
      constexpr auto tile = std::ptrdiff_t(sizeof(PackedTile));
      if constexpr (new_right) unit.template load<6>(b.first + now.right * tile, b.row_bytes);
      if constexpr (new_left) unit.template load<4>(a.first + now.left * tile, a.row_bytes);
      unit.template multiply<0, 4, 6>();
      if constexpr (Wide) {
        if constexpr (new_right) unit.template load<7>(b.second + now.right * tile, b.row_bytes);
        unit.template multiply<1, 4, 7>();
      }
      if constexpr (Tall) {
        if constexpr (new_left) unit.template load<5>(a.second + now.left * tile, a.row_bytes);
        unit.template multiply<2, 5, 6>();
      }
      if constexpr (Tall && Wide) unit.template multiply<3, 5, 7>();
    });
    a.first += a.advance, a.second += a.advance;
    b.first += b.advance, b.second += b.advance;
  }
}

/// sums (32 x 32, rows `step` apart) = the product of `count` pairs of left and right tiles, as the
/// products of their parts from number First on; if Add, sums + this product. A square with at most
/// 16 rows has no lower tiles (not Tall), one with at most 16 columns no right ones (not Wide):
/// their sums are neither read nor written.
template <bool Add, bool Tall, bool Wide, int Parts, int First, class Unit>
void multiply_square(Unit& unit, const TilePair& a, const TilePair& b, int count, float* sums,
                     std::ptrdiff_t step) {
  constexpr int last = last_product<Parts>;
  const std::ptrdiff_t row = step * std::ptrdiff_t(sizeof(float));
  float *const right = sums + tile_side, *const lower = sums + tile_side * step;
  const auto start = [&]<int R>(std::integral_constant<int, R>, const float* from) {
    if constexpr (Add)
      unit.template load<R>(from, row);
    else
      unit.template zero<R>();
  };
  start(std::integral_constant<int, 0>{}, sums);
  if constexpr (Wide) start(std::integral_constant<int, 1>{}, right);
  if constexpr (Tall) start(std::integral_constant<int, 2>{}, lower);
  if constexpr (Tall && Wide) start(std::integral_constant<int, 3>{}, lower + tile_side);
  if constexpr (First < last) add_products<Tall, Wide, Parts, First, last>(unit, a, b, count);
  add_products<Tall, Wide, Parts, last, last + 1>(unit, a, b, count);
  unit.template store<0>(sums, row);
  if constexpr (Wide) unit.template store<1>(right, row);
  if constexpr (Tall) unit.template store<2>(lower, row);
  if constexpr (Tall && Wide) unit.template store<3>(lower + tile_side, row);
}
template <int Parts = 1, bool Add = false, class Unit>
void multiply_square(Unit& unit, int rows, int cols, const TilePair& a, const TilePair& b,
                     int count, float* sums, std::ptrdiff_t step = square_side) {
  const bool tall = rows > tile_side, wide = cols > tile_side;
  if (tall && wide)
    return multiply_square<Add, true, true, Parts, 0>(unit, a, b, count, sums, step);
  if (tall) return multiply_square<Add, true, false, Parts, 0>(unit, a, b, count, sums, step);
  if (wide) return multiply_square<Add, false, true, Parts, 0>(unit, a, b, count, sums, step);
  multiply_square<Add, false, false, Parts, 0>(unit, a, b, count, sums, step);
}

/// Packs 32 rows of an operand, of which `rows` exist: first the tiles of the first 32 terms, of
/// the upper 16 rows and then of the lower ones, then those of the next terms.
template <class Packing, Side S, class E>
void pack_tile_pairs(const Operand<E>& x, int rows, int steps, PackedTile* to) {
  for (int l = 0; l < steps; l += tile_terms)
    for (int i = 0; i < square_side; i += tile_side, to += parts_of<E>)
      Packing::template pack<S>(x.from(std::min(i, rows), l), std::clamp(rows - i, 0, tile_side),
                                std::min(tile_terms, steps - l), to);
}

/// An infinite number times the parts of a finite one is NaN, because parts may be 0. So a sum that
/// is NaN becomes that of the products of the high parts if this is infinite.
template <int Parts, class Unit>
void restore_infinities(Unit& unit, int rows, int cols, const TilePair& a, const TilePair& b,
                        int count, float* sums) {
  constexpr int side = square_side;
  bool any = false;
  for (int r = 0; r < rows; ++r)
    for (int s = 0; s < cols; ++s) any |= std::isnan(sums[r * side + s]);
  if (!any) return;
  alignas(64) float high[side * side];
  multiply_square<false, true, true, Parts, last_product<Parts>>(unit, a, b, count, high, side);
  for (int i = 0; i < side * side; ++i)
    if (std::isnan(sums[i]) && std::isinf(high[i])) sums[i] = high[i];
}

/// c = alpha * sums + bias + beta * c for a part of a square. Numbers at the edge of C go through a
/// buffer, so that all go through the same instructions.
template <class C>
void finish_square(int rows, int cols, const float* sums, C* c, std::ptrdiff_t ldc,
                   const GemmOptions<float>& o) {
  using Pack = Register<float>;
  constexpr int side = square_side, width = batch_width<float>;
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

/// The product on one thread, on the tiles of `Unit`, packed by `Packing`. A and B are bfloat16 or
/// rounded to it, or both are float. `after` is called for every 32 rows.
template <class Unit, class Packing, class A, class B, class C>
void multiply_on_tiles(int m, int n, int k, const Operand<A>& a, const Operand<B>& b, C* c,
                       std::ptrdiff_t ldc, const GemmOptions<float>& o, float* workspace,
                       const RowsAfter& after = {}) {
  if (m <= 0 || n <= 0) return;
  constexpr int parts = parts_of<A>, side = square_side;
  static_assert(parts == parts_of<B>);
  using Blocks = TileBlocking<parts>;
  const int most_steps = Blocks::steps(k), most_cols = Blocks::cols(n, most_steps);
  if constexpr (!std::is_same_v<C, float>) {
    if (k > most_steps)
      return through_wide_sums<float>(
          m, n, c, ldc, o, workspace, after,
          [&](int i, int rows, int j, int cols, float* sums, const GemmOptions<float>& part) {
            multiply_on_tiles<Unit, Packing>(rows, cols, k, a.from(i, 0), b.from(j, 0), sums, cols,
                                             part, workspace);
          });
  }
  auto* const a_block = reinterpret_cast<PackedTile*>(workspace);
  PackedTile* const b_block = a_block + Blocks::a_tiles;
  auto* const sums = reinterpret_cast<float*>(b_block + Blocks::b_tiles);
  [[maybe_unused]] const typename Unit::Session session;
  Unit unit;
  for (int j = 0; j < n; j += most_cols) {
    const int cols = std::min(most_cols, n - j);
    int l = 0;
    do {  // runs once even if k = 0: C gets bias + beta * C
      const int steps = std::min(most_steps, k - l), count = ceil_div(steps, tile_terms);
      for (int s = 0; s < cols; s += side)
        pack_tile_pairs<Packing, Side::right>(b.from(j + s, l), cols - s, steps,
                                              b_block + s / tile_side * count * parts);
      for (int i = 0; i < m; i += side) {
        const Operand<A> strip = a.from(i, l);
        TilePair left(a_block, parts);
        if (std::is_same_v<A, bfloat16> && a.along_l() && !a.i_table && m - i >= side &&
            steps % tile_terms == 0) {
          left = TilePair(strip.row(0), strip.row(tile_side),
                          std::ptrdiff_t(sizeof(A)) * strip.i_stride, tile_terms * sizeof(A));
        } else {
          pack_tile_pairs<Packing, Side::left>(strip, m - i, steps, a_block);
        }
        for (int s = 0; s < cols; s += side) {
          const int rows = std::min(side, m - i), width = std::min(side, cols - s);
          const TilePair right(b_block + s / tile_side * count * parts, parts);
          multiply_square<parts>(unit, rows, width, left, right, count, sums);
          if constexpr (parts > 1)
            restore_infinities<parts>(unit, rows, width, left, right, count, sums);
          GemmOptions<float> finish = o;
          if (o.bias) finish.bias = l == 0 ? o.bias + j + s : nullptr;
          if (l > 0) finish.beta = 1;
          finish_square(rows, width, sums, c + i * ldc + j + s, ldc, finish);
        }
        if (j + cols == n && l + steps == k) after(i, std::min(m, i + side));
      }
      l += steps;
    } while (l < k);
  }
}

}  // namespace moe::detail
