#pragma once
#include <moe/core/config.hpp>
#include <moe/kernels/rope.hpp>
#include <moe/layers/layer.hpp>

namespace moe::inline MOE_ISA {

/// Rotary position embedding, in place: rotates pair j of every head by the angle position *
/// base^(-2j/HeadDim).
/// Pairs are (j, j + HeadDim/2) (half-split, Llama) or (2j, 2j + 1) (interleaved, GPT-J).
/// Shapes: x (n, heads * HeadDim); position = pass.start + row % pass.length < Context.
/// Source: Su et al. 2021, arXiv:2104.09864, eq. 34.  Test: tests/layers/rope.cpp.
///
///     using Rotary = moe::Rope<256, 64, moe::Position::rope_half, moe::Cpu<float>>;
///     Rotary::prepare(backend, pass, cache);        // once a pass
///     Rotary::rotate(backend, pass, cache, queries, +1);   // backward: -1
template <int Context, int HeadDim, Position Kind, Backend B>
struct Rope {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr bool on = Kind == Position::rope_half || Kind == Position::rope_interleaved;
  struct Cache {
    Fixed<W, on ? Context * HeadDim : 0> rotation;  // cosines and sines of each position
  };

  static void prepare(B& be, const Pass& pass, Cache& c) {
    if constexpr (on)
      be.rows(pass.length, kernel::RopeTable<W>{
                               {c.rotation.data, HeadDim}, pass.start, pass.options->rope_base});
  }
  template <int Cols>
  static void rotate(B& be, const Pass& pass, const Cache& c, Rows<T, Cols> x, int direction) {
    const Table<const W> rotation{c.rotation.data, HeadDim};
    if constexpr (Kind == Position::rope_half)
      be.rows(x.count, kernel::RopeHalf<W, T>{x, rotation, pass.length, W(direction)});
    if constexpr (Kind == Position::rope_interleaved)
      be.rows(x.count, kernel::RopeInterleaved<W, T>{x, rotation, pass.length, W(direction)});
  }
};

}  // namespace moe
