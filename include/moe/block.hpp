#pragma once
#include <moe/config.hpp>
#include <moe/kernels/add.hpp>
#include <moe/kernels/dropout.hpp>
#include <moe/kernels/then.hpp>
#include <moe/layers/attention.hpp>
#include <moe/layers/mixture_of_experts.hpp>
#include <moe/layers/norm.hpp>

namespace moe {

/// One pre-norm transformer block:  mid = x + attention(norm(x)),  y = mid + ffn(norm(mid)),
/// ffn a mixture of experts or, in dense layers, one feed-forward; dropout on both branches.
/// Shapes: x, mid, y (n, dim).  backward reads as forward from the last line to the first.
/// Source: Xiong et al. 2020, arXiv:2002.04745.  Test: tests/block.cpp.
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
    Rows<T, C.dim> normed1, mid, normed2;
    typename Norm::Cache attn_norm, ffn_norm;
    typename Attn::Cache attn;
    typename Ffn::Cache ffn;
  };
  struct Scratch {
    Rows<T, C.dim> dnormed, dresidual, dbranch;
    typename Norm::Scratch norm;
    typename Attn::Scratch attn;
    typename Ffn::Scratch ffn;
  };

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch& s, const KeyValues<T>* past = nullptr) {
    Norm::forward(be, pass, p.attn_norm, x, c.normed1, c.attn_norm, s.norm);
    Attn::forward(be, pass, p.attn, c.normed1, c.mid, c.attn, s.attn, past);
    be.rows(x.count,
            kernel::Then{kernel::DropAdd<T>{x, c.mid, attention_dropout(pass)},
                         Norm::row_forward(pass, p.ffn_norm, c.mid, c.normed2, c.ffn_norm)});
    Ffn::forward(be, pass, p.ffn, c.normed2, y, c.ffn, s.ffn);
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
                                const Cache& c, Rows<T, in> dresidual, Params& grad, Scratch& s) {
    const auto dffn = branch(be, ffn_dropout(pass), dresidual, s.dbranch);
    Ffn::backward(be, pass, p.ffn, c.normed2, c.ffn, dffn, s.dnormed, grad.ffn, s.ffn, false);
    Norm::backward(be, pass, p.ffn_norm, c.mid, c.ffn_norm, s.dnormed, dresidual, grad.ffn_norm,
                   s.norm);
    const auto dattn = branch(be, attention_dropout(pass), dresidual, s.dbranch);
    Attn::backward(be, pass, p.attn, c.normed1, c.attn, dattn, s.dnormed, grad.attn, s.attn, false);
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
  /// The gradient of the branch: dropout(dy), or dy itself when dropout is off.
  static Rows<const T, in> branch(B& be, const Dropout& dropout, Rows<const T, in> dy,
                                  Rows<T, in> dbranch) {
    if (!dropout.active()) return dy;
    be.rows(dy.count, kernel::Drop<T>{dy, dbranch, dropout});
    return dbranch;
  }
};

}  // namespace moe
