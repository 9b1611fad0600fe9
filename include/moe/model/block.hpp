#pragma once
#include <moe/core/config.hpp>
#include <moe/kernels/dropout.hpp>
#include <moe/kernels/fuse.hpp>
#include <moe/kernels/residual.hpp>
#include <moe/layers/attention.hpp>
#include <moe/layers/mixture_of_experts.hpp>
#include <moe/layers/norm.hpp>

namespace moe {

/// One pre-norm transformer block:  mid = x + attention(norm(x)),  y = mid + ffn(norm(mid)),
/// ffn a mixture of experts or, in dense layers, one feed-forward; dropout on both branches.
/// Shapes: x, mid, y (n, dim).  backward reads as forward from the last line to the first.
/// Source: Xiong et al. 2020, arXiv:2002.04745.  Test: tests/model/block.cpp.
///
///     using Layer3 = moe::Block<config, /*Mixture=*/config.is_moe(3), moe::Cpu<float>>;
template <ModelConfig C, bool Mixture, class B>
struct Block {
  using T = Scalar<B>;
  static constexpr int in = C.dim, out = C.dim;
  static constexpr bool mixture = Mixture;
  using Norm = NormOf<C.norm, C.dim, B, C.bias>;
  using Attn = Attention<C.heads, C.key_heads(), C.dim, C.context, B,
                         AttentionTraits{C.position, C.bias, C.qk_norm}>;
  using Dense = FeedForward<C.dim, C.dense_hidden(), B, FeedForwardTraits{C.activation, C.bias}>;
  using Experts =
      MoE<Mixture ? C.moe.experts : 1, Mixture ? C.moe.top_k : 1, C.dim, C.expert_hidden(), B,
          MoeTraits{C.activation, C.bias, C.moe.shared_experts, C.moe.scoring, C.moe.renormalise,
                    C.moe.balance_bias, C.bias || C.moe.router_bias}>;
  using Ffn = std::conditional_t<Mixture, Experts, Dense>;

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
  /// Of forward and backward_in_place. The norms are computed again in backward.
  struct InPlaceScratch {
    Rows<T, C.dim> normed, dnormed;
    Rows<T, Ffn::dx_over_dy ? 0 : C.dim> dbranch;
    typename Norm::Scratch norm;
    BranchScratch branch;
  };
  struct Scratch {
    InPlaceScratch in_place;
    Rows<T, C.dim> dresidual;

    operator InPlaceScratch&() { return in_place; }
  };

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, InPlaceScratch& s, const KeyValues<T>* past = nullptr) {
    Norm::forward(be, pass, p.attn_norm, x, s.normed, c.attn_norm, s.norm);
    Attn::forward(be, pass, p.attn, s.normed, c.mid, c.attn, s.branch.attn, past);
    be.rows(x.count,
            kernel::Then{kernel::DropAdd<T>{x, c.mid, attention_dropout(pass)},
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

  /// The same for a dresidual that is dy before and dx after: the residual stream has one gradient,
  /// which the branches add to.
  static void backward_in_place(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                                const Cache& c, Rows<T, in> dresidual, Params& grad,
                                InPlaceScratch& s) {
    const auto dffn = branch<Ffn>(be, ffn_dropout(pass), dresidual, s);
    Norm::again(be, p.ffn_norm, c.mid, c.ffn_norm, s.normed);
    Ffn::backward(be, pass, p.ffn, s.normed, c.ffn, dffn, s.dnormed, grad.ffn, s.branch.ffn, false);
    Norm::backward(be, pass, p.ffn_norm, c.mid, c.ffn_norm, s.dnormed, dresidual, grad.ffn_norm,
                   s.norm);
    const auto dattn = branch<Attn>(be, attention_dropout(pass), dresidual, s);
    Norm::again(be, p.attn_norm, x, c.attn_norm, s.normed);
    Attn::backward(be, pass, p.attn, s.normed, c.attn, dattn, s.dnormed, grad.attn, s.branch.attn,
                   false);
    Norm::backward(be, pass, p.attn_norm, x, c.attn_norm, s.dnormed, dresidual, grad.attn_norm,
                   s.norm);
  }

 private:
  static Dropout attention_dropout(const Pass& pass) {
    return pass.dropout(pass.options->dropout.attention_output, Site::attention_output_dropout);
  }
  static Dropout ffn_dropout(const Pass& pass) {
    return pass.dropout(pass.options->dropout.ffn_output, Site::ffn_output_dropout);
  }
  /// The gradient of the branch: dropout(dy), or dy itself when dropout is off. A branch that lets
  /// it shares its memory with what the branch makes of it.
  template <class Branch>
  static Rows<const T, in> branch(B& be, const Dropout& dropout, Rows<const T, in> dy,
                                  const InPlaceScratch& s) {
    if (!dropout.active()) return dy;
    const Rows<T, in> dbranch{Branch::dx_over_dy ? s.dnormed.data : s.dbranch.data, dy.count};
    be.rows(dy.count, kernel::Drop<T>{dy, dbranch, dropout});
    return dbranch;
  }
};

/// A block that can turn the gradient of its output into that of its input where it lies: it has
/// backward_in_place, and scratch for it and forward that may be smaller than that of backward.
template <class Blk>
concept InPlace = requires {
  typename Blk::InPlaceScratch;
};

/// What a model needs to run a block forward and back.
template <class Blk, class T>
struct BlockScratch {
  typename Blk::Scratch scratch;
  Rows<T, Blk::in> dy;
};
template <InPlace Blk, class T>
struct BlockScratch<Blk, T> {
  typename Blk::InPlaceScratch scratch;
};

}  // namespace moe
