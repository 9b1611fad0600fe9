#pragma once
#include <moe/kernels/activation.hpp>
#include <moe/layers/linear.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA {

/// Compile-time options of FeedForward.
struct FeedForwardTraits {
  Activation activation = Activation::swiglu;
  bool bias = false;
  RandomStream dropout_site = RandomStream::expert_dropout;
};

/// y = down(act(up(x))), or down(act(gate(x)) * up(x)) if the activation is gated.
/// Shapes: x, y (n, Dim); gate_proj, up_proj (Hidden, Dim); down_proj (Dim, Hidden).
/// Dropout: rate options.dropout.expert on the input of down.  Never throws or allocates.
/// Act: what Traits.activation names, or an activation of the user's own
/// (examples/custom_activation.cpp).
/// Source: Shazeer 2020, arXiv:2002.05202, eq. 5 and 6.  Test: tests/layers/feed_forward.cpp.
///
///     using Ffn = moe::FeedForward<256, 1024, moe::Cpu<float>>;
///     Ffn::forward(backend, pass, params, x, y, cache, scratch);
template <int Dim, int Hidden, Backend B, FeedForwardTraits Traits = FeedForwardTraits{},
          class Act = kernel::ActivationOf<Wide<B>, Traits.activation>>
struct FeedForward {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int in = Dim, out = Dim;
  /// With `add` = false, backward may write dx over dy.
  static constexpr bool dx_may_overwrite_dy = true;
  static constexpr bool gated = Act::gated;
  static constexpr int gate_hidden = gated ? Hidden : 0;  // NOLINT(bugprone-branch-clone): Hidden 0
  using Gate = Linear<Dim, gate_hidden, B, Traits.bias && gated>;
  using Up = Linear<Dim, Hidden, B, Traits.bias>;
  using Down = Linear<Hidden, Dim, B, Traits.bias, Role::residual>;

  struct Params {
    typename Gate::Params gate_proj;
    typename Up::Params up_proj;
    typename Down::Params down_proj;
  };
  struct Cache {
    Rows<T, gate_hidden> gate;  // before the activation
    Rows<T, Hidden> up;         // without a gate: before the activation
  };
  struct Scratch {
    Rows<T, Hidden> act, dact;  // dup overwrites dact
    Rows<T, gate_hidden> dgate;
  };

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch& s) {
    if constexpr (gated) Gate::forward(be, p.gate_proj, x, c.gate);
    Up::forward_then(be, p.up_proj, x, c.up,
                     kernel::ActivationForward<W, kernel::FunctionOf<Act>, T>{pre(c), up(c), s.act,
                                                                              nullptr, drop(pass)});
    Down::forward(be, p.down_proj, s.act, y);
  }

  static void backward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                       const Cache& c, Rows<const T, out> dy, Rows<T, in> dx, Params& grad,
                       Scratch& s, bool add = true) {
    gemm_then(be, x.count, Hidden, Dim, matrix(dy), matrix(p.down_proj.weight), s.dact.data, Hidden,
              {},
              kernel::ActivationBackward<W, kernel::FunctionOf<Act>, T>{
                  pre(c),
                  up(c),
                  s.dact,
                  {},
                  s.act,
                  gated ? Table<T>(s.dgate) : s.dact,
                  s.dact,
                  {},
                  nullptr,
                  drop(pass)});
    be.gemm(Dim, Hidden, x.count, transposed(matrix(dy)), matrix(s.act), grad.down_proj.weight.data,
            Hidden, {.beta = W(1)});
    if constexpr (Traits.bias)
      be.columns(Dim, {1, x.count}, kernel::BiasGrad<W, T>{nullptr, {}, dy, grad.down_proj.bias});
    Up::backward(be, p.up_proj, x, s.dact, dx, grad.up_proj, add);
    if constexpr (gated) Gate::backward(be, p.gate_proj, x, s.dgate, dx, grad.gate_proj);
  }

 private:
  static Table<const T> pre(const Cache& c) {
    if constexpr (gated) return c.gate;
    return c.up;
  }
  static Table<const T> up(const Cache& c) {
    if constexpr (gated) return c.up;
    return {};
  }
  static Dropout drop(const Pass& pass) {
    return pass.dropout(pass.options->dropout.expert, Traits.dropout_site);
  }
};

}  // namespace moe
