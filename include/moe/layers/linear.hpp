#pragma once
#include <moe/kernels/bias_grad.hpp>
#include <moe/layer.hpp>

namespace moe {

/// y = x W^T (+ bias).   dx += dy W,  dW += dy^T x,  dbias += sum over rows of dy.
/// Shapes: x (n, In), y (n, Out), weight (Out, In), bias (Out).  Never throws, never allocates.
/// Test: tests/layers/linear.cpp.
///
///     using Up = moe::Linear<256, 512, moe::Cpu<float>>;
///     Up::forward(backend, params, x, y);
template <int In, int Out, Backend B, bool Bias = false, Role R = Role::hidden>
struct Linear {
  using T = Scalar<B>;
  static constexpr int in = In, out = Out;
  struct Params {
    Param<T, R, Out, In> weight;
    Param<T, Role::bias, Bias ? 1 : 0, Out> bias;
  };
  struct Cache {};
  struct Scratch {};

  static void forward(B& be, const Params& p, Rows<const T, in> x, Rows<T, out> y) {
    be.gemm(x.count, Out, In, matrix(x), transposed(matrix(p.weight)), y.data, Out,
            {.bias = Bias ? p.bias.data : nullptr});
  }

  static void backward(B& be, const Params& p, Rows<const T, in> x, Rows<const T, out> dy,
                       Rows<T, in> dx, Params& grad) {
    be.gemm(x.count, In, Out, matrix(dy), matrix(p.weight), dx.data, In, {.beta = T(1)});
    be.gemm(Out, In, x.count, transposed(matrix(dy)), matrix(x), grad.weight.data, In,
            {.beta = T(1)});
    if constexpr (Bias)
      be.columns(Out, kernel::BiasGrad<T>{1, x.count, nullptr, nullptr, {}, dy, grad.bias});
  }

  // The form of every layer; a linear map keeps nothing between forward and backward.
  static void forward(B& be, const Pass&, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache&, Scratch&) {
    forward(be, p, x, y);
  }
  static void backward(B& be, const Pass&, const Params& p, Rows<const T, in> x, const Cache&,
                       Rows<const T, out> dy, Rows<T, in> dx, Params& grad, Scratch&) {
    backward(be, p, x, dy, dx, grad);
  }
};

}  // namespace moe
