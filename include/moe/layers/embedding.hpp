#pragma once
#include <cmath>
#include <moe/kernels/embedding.hpp>
#include <moe/layers/layer.hpp>

namespace moe::inline MOE_ISA {

/// y = scale * weight[token],  dweight[token] += scale * dy,  scale = sqrt(Dim) if Scaled, else 1.
/// Shapes: tokens (n), y (n, Dim), weight (Vocab, Dim).  The model checks that tokens are valid.
/// Not a Layer: its input is integers.  Test: tests/layers/embedding.cpp.
///
///     using Tokens = moe::TokenEmbedding<65, 256, moe::Cpu<float>>;
///     Tokens::forward(backend, params, tokens, y);
template <int Vocab, int Dim, Backend B, bool Scaled = false>
struct TokenEmbedding {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int out = Dim;
  struct Params {
    Param<Weight<B>, Role::embedding, Vocab, Dim> weight;
  };
  /// The rows sorted by token.
  struct Scratch {
    Rows<int, 1> place_of, row_of;
    Fixed<int, Vocab + 1> offset;
  };

  static void forward(B& be, const Params& p, Rows<const int, 1> tokens, Rows<T, out> y) {
    be.rows(y.count, kernel::EmbeddingForward<W, T, Weight<B>>{tokens.data, 0, 1, p.weight, y,
                                                               scale(), false});
  }
  static void backward(B& be, Rows<const int, 1> tokens, Rows<const T, out> dy, Params& grad,
                       Scratch& s) {
    be.group_by_expert(dy.count, Vocab, 1, tokens.data, s.place_of.data, s.row_of.data,
                       s.offset.data);
    be.columns(Dim, {Vocab, dy.count, s.offset.data},
               kernel::EmbeddingGrad<W, T>{s.row_of.data, 0, 0, 0, dy, grad.weight, scale()});
  }

 private:
  static W scale() { return W(Scaled ? std::sqrt(double(Dim)) : 1.0); }
};

/// y += weight[position],  dweight[position] += dy,  position = pass.start + row % pass.length.
/// Shapes: y (n, Dim), weight (Context, Dim).  Test: tests/layers/embedding.cpp.
///
///     using Positions = moe::PositionEmbedding<256, 384, moe::Cpu<float>>;
///     Positions::forward(backend, pass, params, y);  // after the token embedding
template <int Context, int Dim, Backend B>
struct PositionEmbedding {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int out = Dim;
  struct Params {
    Param<W, Role::position, Context, Dim> weight;
  };

  static void forward(B& be, const Pass& pass, const Params& p, Rows<T, out> y) {
    be.rows(y.count, kernel::EmbeddingForward<W, T>{nullptr, pass.start, pass.length, p.weight, y,
                                                    W(1), true});
  }
  static void backward(B& be, const Pass& pass, Rows<const T, out> dy, Params& grad) {
    const int sequences = dy.count / pass.length;
    be.columns(Dim, {pass.length, sequences},
               kernel::EmbeddingGrad<W, T>{nullptr, pass.start, pass.length, sequences, dy,
                                           grad.weight, W(1)});
  }
};

}  // namespace moe
