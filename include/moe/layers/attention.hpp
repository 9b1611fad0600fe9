#pragma once
#include <moe/core/error.hpp>
#include <moe/layers/linear.hpp>
#include <moe/layers/norm.hpp>
#include <moe/layers/rope.hpp>

namespace moe::inline MOE_ISA {

/// Compile-time options of Attention.
struct AttentionTraits {
  Position position = Position::rope_half;
  bool bias = false;
  bool qk_norm = false;
};

/// The keys and values of earlier tokens: `room` rows for each sequence, of which `pass.start` are
/// filled.
template <class T>
struct KeyValues {
  T *keys, *values;
  int room;
};

/// The inputs and statistics of the norm of each head, kept for backward.
template <class T, class W, int Heads, int HeadDim>
struct HeadNormCache {
  Rows<T, HeadDim, Heads> pre_norm;
  Rows<W, 1, Heads> rstd;
};

/// Causal self-attention with grouped-query heads: y = o(softmax(q k^T / sqrt(head_dim)) v), with q
/// and k optionally RMS-normalized per head and rotated. Query head h reads key head h * KvHeads /
/// Heads.
/// Shapes: x, y (n, Dim), n = sequences * pass.length; q, o (Dim, Dim); k, v (KvHeads * head_dim,
/// Dim).
/// With `past`, new keys and values are first stored there, and the queries see all of them.
/// Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Ainslie et al. 2023, arXiv:2305.13245.
/// Test: tests/layers/attention.cpp.
///
///     using Attn = moe::Attention<8, 4, 256, /*Context=*/128, moe::Cpu<float>>;
///     Attn::forward(backend, pass, params, x, y, cache, scratch);
template <int Heads, int KvHeads, int Dim, int Context, Backend B,
          AttentionTraits Traits = AttentionTraits{}>
struct Attention {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int in = Dim, out = Dim;
  /// With `add` = false, backward may write dx over dy.
  static constexpr bool dx_may_overwrite_dy = true;
  static constexpr int head_dim = Dim / Heads, kv_dim = KvHeads * head_dim;
  using Rotary = Rope<Context, head_dim, Traits.position, B>;
  using Query = Linear<Dim, Dim, B, Traits.bias>;
  using KeyValue = Linear<Dim, kv_dim, B, Traits.bias>;
  using Out = Linear<Dim, Dim, B, Traits.bias, Role::residual>;
  /// False if a key bias has no effect: without rotation or norm after it, it shifts all scores of
  /// a query alike, and the softmax removes the shift. Its exact gradient is then 0, and it is not
  /// computed, because its rounding error would make the bias drift.
  static constexpr bool key_bias_acts = Traits.bias && (Rotary::on || Traits.qk_norm);
  using KeyOnly = Linear<Dim, kv_dim, B, false>;
  struct HeadNorm {
    Param<W, Role::gain, Traits.qk_norm ? 1 : 0, head_dim> weight;
  };
  struct Params {
    typename Query::Params q;
    typename KeyValue::Params k, v;
    HeadNorm q_norm, k_norm;
    typename Out::Params o;
  };
  struct Cache {
    Rows<T, Dim> q, attn_out;  // attn_out: the outputs of the heads, concatenated
    Rows<T, kv_dim> k, v;
    Rows<W, Heads> lse;
    HeadNormCache<T, W, Traits.qk_norm ? Heads : 0, head_dim> q_norm;
    HeadNormCache<T, W, Traits.qk_norm ? KvHeads : 0, head_dim> k_norm;
    typename Rotary::Cache rotary;
  };
  /// The gradients of the attention output (dattn_out) and of the pre-norm queries and keys
  /// (dpre_norm) share memory: the former is last read before the latter is first written.
  struct OutThenPreNorm {
    static constexpr bool overlaid = true;
    Rows<T, Dim> dattn_out;
    Rows<T, Traits.qk_norm ? Dim : 0> dpre_norm;
  };
  struct Scratch {
    Rows<T, Dim> dq;
    Rows<T, kv_dim> dk, dv;
    OutThenPreNorm last;
  };

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch&, const KeyValues<T>* past = nullptr) {
    MOE_EXPECTS(past || pass.start == 0, "a pass that starts at token ", pass.start,
                " needs the keys and values of the tokens before it");
    Query::forward(be, p.q, x, before_norm(c.q, c.q_norm));
    KeyValue::forward(be, p.k, x, before_norm(c.k, c.k_norm));
    KeyValue::forward(be, p.v, x, c.v);
    normalize(be, pass, p.q_norm, c.q, c.q_norm);
    normalize(be, pass, p.k_norm, c.k, c.k_norm);
    Rotary::prepare(be, pass, c.rotary);
    Rotary::rotate(be, pass, c.rotary, c.q, +1);
    Rotary::rotate(be, pass, c.rotary, c.k, +1);
    const AttentionShape s = shape(pass, x.count, past);
    if (past) append(be, s, c, *past);
    be.attention_forward(s, c.q.data, past ? past->keys : c.k.data, past ? past->values : c.v.data,
                         c.attn_out.data, c.lse.data);
    Out::forward(be, p.o, c.attn_out, y);
  }

  static void backward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                       const Cache& c, Rows<const T, out> dy, Rows<T, in> dx, Params& grad,
                       Scratch& s, bool add = true) {
    zero(be, s.dq);
    zero(be, s.dk);
    zero(be, s.dv);
    Out::backward(be, p.o, c.attn_out, dy, s.last.dattn_out, grad.o, false);
    be.attention_backward(shape(pass, x.count, nullptr), c.q.data, c.k.data, c.v.data,
                          c.attn_out.data, s.last.dattn_out.data, c.lse.data, s.dq.data, s.dk.data,
                          s.dv.data);
    Rotary::rotate(be, pass, c.rotary, s.dk, -1);
    Rotary::rotate(be, pass, c.rotary, s.dq, -1);
    KeyValue::backward(be, p.v, x, s.dv, dx, grad.v, add);
    const auto dk = denormalize(be, p.k_norm, s.dk, c.k_norm, s.last.dpre_norm, grad.k_norm);
    if constexpr (key_bias_acts) {
      KeyValue::backward(be, p.k, x, dk, dx, grad.k);
    } else {
      typename KeyOnly::Params key{grad.k.weight, {}};
      KeyOnly::backward(be, {p.k.weight, {}}, x, dk, dx, key);
    }
    const auto dq = denormalize(be, p.q_norm, s.dq, c.q_norm, s.last.dpre_norm, grad.q_norm);
    Query::backward(be, p.q, x, dq, dx, grad.q);
  }

 private:
  static AttentionShape shape(const Pass& pass, int n, const KeyValues<T>* past) {
    const int keys = pass.start + pass.length;
    return {n / pass.length,
            pass.length,
            keys,
            past ? past->room : keys,
            Heads,
            KvHeads,
            head_dim,
            pass.dropout(pass.options->dropout.attention, RandomStream::attention_dropout)};
  }

  /// The destination of a projection: the input of the norm, if there is one.
  template <int Cols, int NormHeads>
  static Rows<T, Cols> before_norm(Rows<T, Cols> x,
                                   const HeadNormCache<T, W, NormHeads, head_dim>& c) {
    return Traits.qk_norm ? Rows<T, Cols>{c.pre_norm.data, x.count} : x;
  }
  template <int Cols, int NormHeads>
  static void normalize(B& be, const Pass& pass, const HeadNorm& p, Rows<T, Cols> x,
                        const HeadNormCache<T, W, NormHeads, head_dim>& c) {
    if constexpr (Traits.qk_norm)
      be.rows(x.count * NormHeads,
              kernel::RmsNormForward<W, T>{
                  c.pre_norm, p.weight, {x.data, head_dim}, c.rstd, W(pass.options->norm_eps)});
  }
  template <int Cols, int NormHeads>
  static Rows<const T, Cols> denormalize(B& be, const HeadNorm& p, Rows<T, Cols> dx,
                                         const HeadNormCache<T, W, NormHeads, head_dim>& c,
                                         Rows<T, Traits.qk_norm ? Dim : 0> dpre_norm,
                                         HeadNorm& grad) {
    if constexpr (!Traits.qk_norm) {
      return dx;
    } else {
      const Rows<T, Cols> before{dpre_norm.data, dx.count};
      const Table<const T> after{dx.data, head_dim};
      const int rows = dx.count * NormHeads;
      be.rows(rows, kernel::RmsNormBackward<W, T>{
                        c.pre_norm, p.weight, c.rstd, after, {before.data, head_dim}, false});
      be.columns(head_dim, {1, rows},
                 kernel::RmsNormGainGrad<W, T>{c.pre_norm, c.rstd, after, grad.weight});
      return before;
    }
  }

  static void append(B& be, const AttentionShape& s, const Cache& c, const KeyValues<T>& past) {
    const std::size_t bytes = std::size_t(s.queries) * kv_dim * sizeof(T);
    for (int i = 0; i < s.sequences; ++i) {
      const std::ptrdiff_t to = (std::ptrdiff_t(i) * s.key_rows + s.keys - s.queries) * kv_dim;
      const std::ptrdiff_t from = std::ptrdiff_t(i) * s.queries * kv_dim;
      be.copy(past.keys + to, c.k.data + from, bytes);
      be.copy(past.values + to, c.v.data + from, bytes);
    }
  }
};

}  // namespace moe
