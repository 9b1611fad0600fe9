#pragma once
#include <algorithm>
#include <cstdint>
#include <moe/kernels/cross_entropy.hpp>
#include <moe/layer.hpp>

namespace moe {

/// Head and cross entropy:  logits = x W^T,  loss = mean over tokens of -log
/// softmax(logits)[target]. Shapes: x (n, Dim), weight (Vocab, Dim), targets (n).  Units: nats.
/// Never throws or allocates. Logits live for one chunk of rows only and are computed again in
/// backward. Not a Layer: targets are integers, and a tied weight belongs to the embedding. Test:
/// tests/layers/loss.cpp.
///
///     using Head = moe::CrossEntropy<65, 256, moe::Cpu<float>>;
///     Head::forward(backend, weight, x, targets, cache, scratch);  // cache.loss, one for each row
template <int Vocab, int Dim, Backend B>
struct CrossEntropy {
  using T = Scalar<B>;
  static constexpr int in = Dim;
  /// Rows whose logits fit a quarter of a large second-level cache, and at least 64.
  static constexpr int chunk = std::clamp((1 << 19) / Vocab, 64, 4096);
  struct Cache {
    Rows<T, 1> loss, lse, correct;
  };
  struct Scratch {
    Fixed<T, chunk * Vocab> logits;
  };

  static void logits(B& be, const T* weight, Rows<const T, in> x, T* out) {
    be.gemm(x.count, Vocab, Dim, matrix(x), transposed(Matrix<const T>{weight, Dim}), out, Vocab);
  }

  static void forward(B& be, const T* weight, Rows<const T, in> x, const std::int32_t* targets,
                      Cache& c, Scratch& s) {
    for_each_chunk(x, [&](int first, Rows<const T, in> rows) {
      logits(be, weight, rows, s.logits.data);
      be.rows(rows.count, kernel::CrossEntropyForward<T>{{s.logits.data, Vocab},
                                                         targets + first,
                                                         {c.loss.data + first, 1},
                                                         {c.lse.data + first, 1},
                                                         {c.correct.data + first, 1}});
    });
  }

  /// Adds scale * d(mean loss) to dx and dweight.
  static void backward(B& be, const T* weight, Rows<const T, in> x, const std::int32_t* targets,
                       const Cache& c, double scale, Rows<T, in> dx, T* dweight, Scratch& s) {
    for_each_chunk(x, [&](int first, Rows<const T, in> rows) {
      logits(be, weight, rows, s.logits.data);
      be.rows(rows.count, kernel::CrossEntropyBackward<T>{{s.logits.data, Vocab},
                                                          targets + first,
                                                          {c.lse.data + first, 1},
                                                          T(scale / double(x.count))});
      const Matrix<const T> dlogits{s.logits.data, Vocab};
      be.gemm(rows.count, Dim, Vocab, dlogits, {weight, Dim}, dx.data + std::ptrdiff_t(first) * Dim,
              Dim, {.beta = T(1)});
      be.gemm(Vocab, Dim, rows.count, transposed(dlogits), matrix(rows), dweight, Dim,
              {.beta = T(1)});
    });
  }

 private:
  template <class F>
  static void for_each_chunk(Rows<const T, in> x, const F& f) {
    for (int first = 0; first < x.count; first += chunk)
      f(first, x.slice(first, std::min(chunk, x.count - first)));
  }
};

}  // namespace moe
