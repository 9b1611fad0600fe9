#pragma once
#include <moe/core/config.hpp>
#include <moe/kernels/dropout.hpp>
#include <moe/kernels/fuse.hpp>
#include <moe/kernels/residual.hpp>
#include <moe/layers/attention.hpp>
#include <moe/layers/mixture_of_experts.hpp>
#include <moe/layers/norm.hpp>

namespace moe::inline MOE_ISA {

/// The layers that a ModelConfig selects.
template <ModelConfig C, class B>
using AttentionOf =
    Attention<C.heads, C.kv_heads_or_default(), C.dim, C.context, B,
              AttentionTraits{.position = C.position, .bias = C.bias, .qk_norm = C.qk_norm}>;
template <ModelConfig C, class B>
using ActivationOf = kernel::ActivationOf<Wide<B>, C.activation>;
template <ModelConfig C, class B, class Act = ActivationOf<C, B>>
using FeedForwardOf =
    FeedForward<C.dim, C.dense_hidden(), B,
                FeedForwardTraits{.activation = C.activation, .bias = C.bias}, Act>;
template <ModelConfig C, class B>
using RouterOf = Router<C.moe.experts, C.moe.top_k, C.dim, B,
                        RouterTraits{.scoring = C.moe.scoring,
                                     .renormalize = C.moe.renormalize,
                                     .expert_bias = C.moe.expert_bias,
                                     .bias = C.bias || C.moe.router_bias}>;
template <ModelConfig C, class B, class Route = RouterOf<C, B>, class Act = ActivationOf<C, B>>
using MixtureOf =
    MoE<C.moe.experts, C.moe.top_k, C.dim, C.expert_hidden(), B,
        MoeTraits{
            .activation = C.activation, .bias = C.bias, .shared_experts = C.moe.shared_experts},
        Route, Act>;

namespace detail {
/// Whether a feed-forward or mixture is gated if and only if the configuration names such an
/// activation. True for a layer that does not say.
template <class Ffn>
constexpr bool gated_as(bool named) {
  if constexpr (requires { Ffn::gated; }) return Ffn::gated == named;
  return true;
}
}  // namespace detail

/// One pre-norm transformer block:  mid = x + attention(norm(x)),  y = mid + ffn(norm(mid)), where
/// ffn is a mixture of experts or, in dense layers, one feed-forward. Both branches have dropout.
/// Shapes: x, mid, y (n, dim).  backward reads as forward from the last line to the first.
/// Attn and Ffn may be your own layers (examples/custom_router.cpp).
/// Source: Xiong et al. 2020, arXiv:2002.04745.  Test: tests/model/block.cpp.
///
///     using Layer3 = moe::Block<config, /*Mixture=*/config.is_moe(3), moe::Cpu<float>>;
template <ModelConfig C, bool Mixture, class B, class Attn = AttentionOf<C, B>,
          class Ffn = std::conditional_t<Mixture, MixtureOf<C, B>, FeedForwardOf<C, B>>>
struct Block {
  using T = Value<B>;
  static constexpr int in = C.dim, out = C.dim;
  static constexpr bool mixture = Mixture;
  static_assert(detail::gated_as<Ffn>(is_gated(C.activation)),
                "moe: ModelConfig.activation has to be gated if and only if your own activation "
                "is, because the arithmetic of the model is counted by it");
  using Norm = NormOf<C.norm, C.dim, B, C.bias>;

  struct Params {
    typename Norm::Params attn_norm;
    typename Attn::Params attn;
    typename Norm::Params ffn_norm;
    typename Ffn::Params ffn;
  };
  struct Cache {
    Rows<T, C.dim> mid;
    typename Norm::Cache attn_norm, ffn_norm;
    typename Attn::Cache attn;
    typename Ffn::Cache ffn;
  };
  struct BranchScratch {
    static constexpr bool overlaid = true;
    typename Attn::Scratch attn;
    typename Ffn::Scratch ffn;
  };
  /// Scratch of forward and backward_in_place. Backward recomputes the norms.
  struct InPlaceScratch {
    Rows<T, C.dim> normed, dnormed;
    Rows<T, Ffn::dx_may_overwrite_dy ? 0 : C.dim> dbranch;
    typename Norm::Scratch norm;
    BranchScratch branch;
  };
  struct Scratch {
    InPlaceScratch in_place;
    Rows<T, C.dim> dresidual;

    operator InPlaceScratch&() { return in_place; }
  };

  /// Gives the model access to the router's results.
  static const auto& router(const Cache& c) requires Mixture { return c.ffn.router; }

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, InPlaceScratch& s, const KeyValues<T>* past = nullptr) {
    Norm::forward(be, pass, p.attn_norm, x, s.normed, c.attn_norm, s.norm);
    Attn::forward(be, pass, p.attn, s.normed, c.mid, c.attn, s.branch.attn, past);
    be.rows(x.count,
            kernel::Fused{kernel::DropAdd<T>{x, c.mid, attention_dropout(pass)},
                          Norm::row_forward(pass, p.ffn_norm, c.mid, s.normed, c.ffn_norm)});
    Ffn::forward(be, pass, p.ffn, s.normed, y, c.ffn, s.branch.ffn);
    be.rows(x.count, kernel::DropAdd<T>{c.mid, y, ffn_dropout(pass)});
  }

  static void backward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                       const Cache& c, Rows<const T, out> dy, Rows<T, in> dx, Params& grad,
                       Scratch& s) {
    copy(be, s.dresidual, dy);
    backward_in_place(be, pass, p, x, c, s.dresidual, grad, s);
    be.rows(dx.count, kernel::Add<T>{s.dresidual, dx});
  }

  /// Backward in place: dresidual is dy on entry and dx on return. The residual stream has one
  /// gradient, to which both branches add.
  static void backward_in_place(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                                const Cache& c, Rows<T, in> dresidual, Params& grad,
                                InPlaceScratch& s) {
    const auto dffn = branch<Ffn>(be, ffn_dropout(pass), dresidual, s);
    Norm::recompute(be, p.ffn_norm, c.mid, c.ffn_norm, s.normed);
    Ffn::backward(be, pass, p.ffn, s.normed, c.ffn, dffn, s.dnormed, grad.ffn, s.branch.ffn, false);
    Norm::backward(be, pass, p.ffn_norm, c.mid, c.ffn_norm, s.dnormed, dresidual, grad.ffn_norm,
                   s.norm);
    const auto dattn = branch<Attn>(be, attention_dropout(pass), dresidual, s);
    Norm::recompute(be, p.attn_norm, x, c.attn_norm, s.normed);
    Attn::backward(be, pass, p.attn, s.normed, c.attn, dattn, s.dnormed, grad.attn, s.branch.attn,
                   false);
    Norm::backward(be, pass, p.attn_norm, x, c.attn_norm, s.dnormed, dresidual, grad.attn_norm,
                   s.norm);
  }

 private:
  static Dropout attention_dropout(const Pass& pass) {
    return pass.dropout(pass.options->dropout.attention_output,
                        RandomStream::attention_output_dropout);
  }
  static Dropout ffn_dropout(const Pass& pass) {
    return pass.dropout(pass.options->dropout.ffn_output, RandomStream::ffn_output_dropout);
  }
  /// The gradient of the branch: dropout(dy), or dy itself when dropout is off. If the branch
  /// allows dx to overwrite dy, both live in `dnormed`.
  template <class Branch>
  static Rows<const T, in> branch(B& be, const Dropout& dropout, Rows<const T, in> dy,
                                  const InPlaceScratch& s) {
    if (!dropout.active()) return dy;
    const Rows<T, in> dbranch{Branch::dx_may_overwrite_dy ? s.dnormed.data : s.dbranch.data,
                              dy.count};
    be.rows(dy.count, kernel::Drop<T>{dy, dbranch, dropout});
    return dbranch;
  }
};

/// Block as a template of three parameters: the form that Transformer takes, and that a custom
/// block must have.
template <ModelConfig C, bool Mixture, class B>
using DefaultBlock = Block<C, Mixture, B>;

/// A block whose backward can run in place, turning dy into dx. It needs no copy of dy, so its
/// scratch is smaller.
template <class Blk>
concept InPlace = requires {
  typename Blk::InPlaceScratch;
};

/// A block that gives the model access to the results of its router.
template <class Blk>
concept HasRouter = requires(const typename Blk::Cache& c) {
  Blk::router(c).report;
};

/// A block as the decoder runs it: on a residual stream whose gradient is one buffer. `stream` is
/// dy on entry and dx on return.
template <class Blk, class T>
struct StreamBlock {
  struct Scratch {
    typename Blk::Scratch block;
    Rows<T, Blk::in> dy;
  };

  template <class B>
  static void backward(B& be, const Pass& pass, const typename Blk::Params& p,
                       Rows<const T, Blk::in> x, const typename Blk::Cache& c,
                       Rows<T, Blk::in> stream, typename Blk::Params& grad, Scratch& s) {
    copy(be, s.dy, Rows<const T, Blk::in>(stream));
    zero(be, stream);
    Blk::backward(be, pass, p, x, c, s.dy, stream, grad, s.block);
  }
};
template <InPlace Blk, class T>
struct StreamBlock<Blk, T> {
  struct Scratch {
    typename Blk::InPlaceScratch block;
  };

  template <class B>
  static void backward(B& be, const Pass& pass, const typename Blk::Params& p,
                       Rows<const T, Blk::in> x, const typename Blk::Cache& c,
                       Rows<T, Blk::in> stream, typename Blk::Params& grad, Scratch& s) {
    Blk::backward_in_place(be, pass, p, x, c, stream, grad, s.block);
  }
};

}  // namespace moe
