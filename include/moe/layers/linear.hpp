#pragma once
#include <moe/backend/then.hpp>
#include <moe/kernels/bias_grad.hpp>
#include <moe/layers/layer.hpp>

namespace moe::inline MOE_ISA {

/// y = x W^T (+ bias).   dx += dy W,  dW += dy^T x,  dbias += sum over rows of dy.
/// Shapes: x (n, In), y (n, Out), weight (Out, In), bias (Out).  Never throws or allocates.
/// With Role::router y is of type Wide, and the products are exact.
/// Test: tests/layers/linear.cpp.
///
///     using Up = moe::Linear<256, 512, moe::Cpu<float>>;
///     Up::forward(backend, params, x, y);
template <int In, int Out, Backend B, bool Bias = false, Role R = Role::hidden>
struct Linear {
  static constexpr Precision precision = R == Role::router ? Precision::exact : Precision::rounded;
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  using Y = std::conditional_t<precision == Precision::exact, W, T>;
  static constexpr int in = In, out = Out;
  struct Params {
    Param<std::conditional_t<R == Role::router, W, Weight<B>>, R, Out, In> weight;
    Param<W, Role::bias, Bias ? 1 : 0, Out> bias;
  };
  struct Cache {};
  struct Scratch {};

  static void forward(B& be, const Params& p, Rows<const T, in> x, Rows<Y, out> y) {
    be.gemm(x.count, Out, In, matrix(x), transposed(matrix(p.weight)), y.data, Out,
            {.bias = Bias ? p.bias.data : nullptr, .precision = precision});
  }

  /// forward, and then `kernel` for each row of y.
  template <class Kernel>
  static void forward_then(B& be, const Params& p, Rows<const T, in> x, Rows<Y, out> y,
                           const Kernel& kernel) {
    gemm_then(be, x.count, Out, In, matrix(x), transposed(matrix(p.weight)), y.data, Out,
              {.bias = Bias ? p.bias.data : nullptr, .precision = precision}, kernel);
  }

  static void backward(B& be, const Params& p, Rows<const T, in> x, Rows<const Y, out> dy,
                       Rows<T, in> dx, Params& grad, bool add = true) {
    be.gemm(x.count, In, Out, matrix(dy), matrix(p.weight), dx.data, In,
            {.beta = W(add ? 1 : 0), .precision = precision});
    be.gemm(Out, In, x.count, transposed(matrix(dy)), matrix(x), grad.weight.data, In,
            {.beta = W(1), .precision = precision});
    if constexpr (Bias)
      be.columns(Out, {1, x.count}, kernel::BiasGrad<W, Y>{nullptr, {}, dy, grad.bias});
  }

  // The same in the form of a Layer. Cache and Scratch are empty.
  static void forward(B& be, const Pass&, const Params& p, Rows<const T, in> x, Rows<Y, out> y,
                      Cache&, Scratch&) {
    forward(be, p, x, y);
  }
  static void backward(B& be, const Pass&, const Params& p, Rows<const T, in> x, const Cache&,
                       Rows<const Y, out> dy, Rows<T, in> dx, Params& grad, Scratch&,
                       bool add = true) {
    backward(be, p, x, dy, dx, grad, add);
  }
};

}  // namespace moe
