#pragma once
#include <algorithm>
#include <moe/kernels/cross_entropy.hpp>
#include <moe/kernels/fuse.hpp>
#include <moe/layers/layer.hpp>

namespace moe::inline MOE_ISA {

/// Output head and cross entropy:  logits = x W^T,  loss = mean over tokens of -log
/// softmax(logits)[target].
/// Shapes: x (n, Dim), weight (Vocab, Dim), targets (n).  Units: nats.  Never throws or allocates.
/// Logits exist for only one chunk of rows at a time; backward computes them again. Not a Layer:
/// targets are integers, and a tied weight belongs to the embedding.
/// Test: tests/layers/cross_entropy.cpp.
///
///     using Head = moe::CrossEntropyHead<65, 256, moe::Cpu<float>>;
///     Head::forward(backend, weight, x, targets, cache, scratch);  // cache.loss, one for each row
template <int Vocab, int Dim, Backend B>
struct CrossEntropyHead {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of sums
  using P = Weight<B>;
  static constexpr int in = Dim;
  static constexpr int chunk = B::head_rows(Vocab);
  struct Cache {
    Rows<W, 1> loss, lse, correct;
  };
  struct Scratch {
    Fixed<W, chunk * Vocab> logits;
  };

  static void logits(B& be, const P* weight, Rows<const T, in> x, W* out) {
    be.gemm(x.count, Vocab, Dim, matrix(x), transposed(Matrix<const P>{weight, Dim}), out, Vocab);
  }

  static void forward(B& be, const P* weight, Rows<const T, in> x, Rows<const int, 1> targets,
                      Cache& c, Scratch& s) {
    for_each_chunk(x, [&](int first, Rows<const T, in> rows) {
      logits(be, weight, rows, s.logits.data);
      be.rows(rows.count, row_forward(first, targets, c, s));
    });
  }

  /// Adds scale * d(mean loss) to dx and dweight. With `add` = false, dx is overwritten.
  static void backward(B& be, const P* weight, Rows<const T, in> x, Rows<const int, 1> targets,
                       const Cache& c, double scale, Rows<T, in> dx, W* dweight, Scratch& s,
                       bool add = true) {
    for_each_chunk(x, [&](int first, Rows<const T, in> rows) {
      logits(be, weight, rows, s.logits.data);
      be.rows(rows.count, row_backward(first, targets, c, scale / double(x.count), s));
      products(be, weight, rows, dx.slice(first, rows.count), dweight, s, add);
    });
  }

  /// forward and backward in one pass, with the same bits. The logits of each chunk are computed
  /// only once.
  static void forward_backward(B& be, const P* weight, Rows<const T, in> x,
                               Rows<const int, 1> targets, Cache& c, double scale, Rows<T, in> dx,
                               W* dweight, Scratch& s, bool add = true) {
    for_each_chunk(x, [&](int first, Rows<const T, in> rows) {
      logits(be, weight, rows, s.logits.data);
      be.rows(rows.count,
              kernel::Fused{row_forward(first, targets, c, s),
                            row_backward(first, targets, c, scale / double(x.count), s)});
      products(be, weight, rows, dx.slice(first, rows.count), dweight, s, add);
    });
  }

 private:
  /// Row kernel for the chunk that starts at row `first`: logits -> loss.
  static auto row_forward(int first, Rows<const int, 1> targets, Cache& c, Scratch& s) {
    return kernel::CrossEntropyForward<W>{{s.logits.data, Vocab},
                                          targets.data + first,
                                          {c.loss.data + first, 1},
                                          {c.lse.data + first, 1},
                                          {c.correct.data + first, 1}};
  }
  /// Row kernel: logits -> their gradients, in place.
  static auto row_backward(int first, Rows<const int, 1> targets, const Cache& c, double scale,
                           Scratch& s) {
    return kernel::CrossEntropyBackward<W>{
        {s.logits.data, Vocab}, targets.data + first, {c.lse.data + first, 1}, W(scale)};
  }
  static void products(B& be, const P* weight, Rows<const T, in> x, Rows<T, in> dx, W* dweight,
                       Scratch& s, bool add) {
    const Matrix<const W> dlogits{s.logits.data, Vocab};
    be.gemm(x.count, Dim, Vocab, dlogits, Matrix<const P>{weight, Dim}, dx.data, Dim,
            {.beta = W(add ? 1 : 0)});
    be.gemm(Vocab, Dim, x.count, transposed(dlogits), matrix(x), dweight, Dim, {.beta = W(1)});
  }
  template <class F>
  static void for_each_chunk(Rows<const T, in> x, const F& f) {
    for (int first = 0; first < x.count; first += chunk)
      f(first, x.slice(first, std::min(chunk, x.count - first)));
  }
};

}  // namespace moe
