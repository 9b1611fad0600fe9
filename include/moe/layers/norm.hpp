#pragma once
#include <moe/core/config.hpp>
#include <moe/kernels/layer_norm.hpp>
#include <moe/kernels/rms_norm.hpp>
#include <moe/layers/layer.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA {

/// Root-mean-square normalization of each row: y = gain * x / sqrt(mean(x^2) + eps).
/// Shapes: x, y (n, Dim), gain (Dim).  eps: Options.norm_eps.  Never throws or allocates.
/// With `add` = false, backward may write dx over x or dy.
/// Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.  Test: tests/layers/norm.cpp.
///
///     using Norm = moe::RMSNorm<256, moe::Cpu<float>>;
///     Norm::forward(backend, pass, params, x, y, cache, scratch);
template <int Dim, Backend B>
struct RMSNorm {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int in = Dim, out = Dim;
  struct Params {
    Param<W, Role::gain, 1, Dim> weight;
  };
  struct Cache {
    Rows<W, 1> rstd;  // 1/rms of each row
  };
  struct Scratch {};

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch&) {
    be.rows(x.count, row_forward(pass, p, x, y, c));
  }
  /// The row kernel of forward, for fusing it with others.
  static auto row_forward(const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                          Cache& c) {
    return kernel::RmsNormForward<W, T>{x, p.weight, y, c.rstd, W(pass.options->norm_eps)};
  }
  /// Recomputes forward's y from the cached statistics, with the same bits, so that callers need
  /// not store it.
  static void recompute(B& be, const Params& p, Rows<const T, in> x, const Cache& c,
                        Rows<T, out> y) {
    be.rows(x.count, kernel::RmsNormApply<W, T>{x, p.weight, c.rstd, y});
  }

  static void backward(B& be, const Pass&, const Params& p, Rows<const T, in> x, const Cache& c,
                       Rows<const T, out> dy, Rows<T, in> dx, Params& grad, Scratch&,
                       bool add = true) {
    be.columns(Dim, {1, x.count}, kernel::RmsNormGainGrad<W, T>{x, c.rstd, dy, grad.weight});
    be.rows(x.count, kernel::RmsNormBackward<W, T>{x, p.weight, c.rstd, dy, dx, add});
  }
};

/// Layer normalization of each row: y = gain * (x - mean) / sqrt(var + eps) + bias.
/// Shapes: x, y (n, Dim), gain and bias (Dim).  eps: Options.norm_eps.  Never throws or allocates.
/// With `add` = false, backward may write dx over x or dy.
/// Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 4.  Test: tests/layers/norm.cpp.
///
///     using Norm = moe::LayerNorm<256, moe::Cpu<float>, /*Bias=*/true>;
///     Norm::forward(backend, pass, params, x, y, cache, scratch);
template <int Dim, Backend B, bool Bias = true>
struct LayerNorm {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int in = Dim, out = Dim;
  struct Params {
    Param<W, Role::gain, 1, Dim> weight;
    Param<W, Role::bias, Bias ? 1 : 0, Dim> bias;
  };
  struct Cache {
    Rows<W, 2> stats;  // mean, 1/std of each row
  };
  struct Scratch {};

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch&) {
    be.rows(x.count, row_forward(pass, p, x, y, c));
  }
  /// The row kernel of forward, for fusing it with others.
  static auto row_forward(const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                          Cache& c) {
    return kernel::LayerNormForward<W, T>{x, p.weight, bias(p),
                                          y, c.stats,  W(pass.options->norm_eps)};
  }
  /// Recomputes forward's y from the cached statistics, with the same bits, so that callers need
  /// not store it.
  static void recompute(B& be, const Params& p, Rows<const T, in> x, const Cache& c,
                        Rows<T, out> y) {
    be.rows(x.count, kernel::LayerNormApply<W, T>{x, p.weight, bias(p), c.stats, y});
  }

  static void backward(B& be, const Pass&, const Params& p, Rows<const T, in> x, const Cache& c,
                       Rows<const T, out> dy, Rows<T, in> dx, Params& grad, Scratch&,
                       bool add = true) {
    be.columns(Dim, {1, x.count},
               kernel::LayerNormGainGrad<W, T>{x, c.stats, dy, grad.weight, bias(grad)});
    be.rows(x.count, kernel::LayerNormBackward<W, T>{x, p.weight, c.stats, dy, dx, add});
  }

 private:
  static Table<W> bias(const Params& p) { return {Bias ? p.bias.data : nullptr, Dim}; }
};

/// The norm that ModelConfig.norm selects.
template <Norm Kind, int Dim, Backend B, bool Bias>
using NormOf = std::conditional_t<Kind == Norm::rms, RMSNorm<Dim, B>, LayerNorm<Dim, B, Bias>>;

}  // namespace moe
