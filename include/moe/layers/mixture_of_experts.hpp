#pragma once
#include <moe/kernels/dispatch.hpp>
#include <moe/kernels/residual.hpp>
#include <moe/layers/feed_forward.hpp>
#include <moe/layers/router.hpp>

namespace moe::inline MOE_ISA {

/// Compile-time options of MoE; `router` is for its default router.
struct MoeTraits {
  Activation activation = Activation::swiglu;
  bool bias = false;
  int shared_experts = 0;
  RouterTraits router = {.bias = bias};
};

/// Mixture of experts, dropless:  y = sum over the chosen e of gate_e * FFN_e(x)  (+ shared(x)).
/// Shapes: x, y (n, Dim); stacked experts up_proj (Experts, Hidden, Dim), down_proj (Experts, Dim,
/// Hidden); n * TopK slots, grouped by expert. The products gather the rows of x while they read
/// them. The shared experts are one feed-forward of width shared_experts * Hidden.
/// Route chooses the experts: Router, or your own, with the functions of Router and a Cache that
/// has at least expert, gates, slot_of, token_of and report (examples/custom_router.cpp). Its
/// forward fills these, by group_by_expert for the last three; a router without probabilities
/// zeroes report.mean_probs and report.means. Its backward gets dgates whole and adds to dx and
/// grad; what the report counts as a loss, its gradient has to contain. gates_sum_to_one: for every
/// token. Act: as in FeedForward.
///
/// Source: Shazeer et al. 2017, arXiv:1701.06538; Gale et al. 2022, arXiv:2211.15841 (dropless).
/// Test: tests/layers/mixture_of_experts.cpp.  Derivation: docs/derivations/mixture_of_experts.md.
///
///     using Mixture = moe::MoE<8, 2, 256, 512, moe::Cpu<float>>;
///     Mixture::forward(backend, pass, params, x, y, cache, scratch);
template <int Experts, int TopK, int Dim, int Hidden, Backend B, MoeTraits Traits = MoeTraits{},
          class Route = Router<Experts, TopK, Dim, B, Traits.router>,
          class Act = kernel::ActivationOf<Wide<B>, Traits.activation>>
struct MoE {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int in = Dim, out = Dim;
  static constexpr bool gated = Act::gated, bias = Traits.bias;
  static constexpr int gate_hidden = gated ? Hidden : 0;
  static constexpr int shared_hidden = Traits.shared_experts * Hidden;
  /// With `add` = false, backward may write dx over dy, because it writes dx last. Shared experts
  /// write it first.
  static constexpr bool dx_may_overwrite_dy = shared_hidden == 0;
  using Shared = FeedForward<Dim, shared_hidden, B,
                             FeedForwardTraits{Traits.activation, bias && (shared_hidden > 0),
                                               RandomStream::shared_expert_dropout},
                             Act>;

  /// One matrix for each expert, contiguous, so that one grouped product computes all of them.
  template <int In, int Out, Role R, bool Bias>
  struct Stack {
    Param<Weight<B>, R, Out, In, Experts> weight;
    Param<W, Role::bias, Bias ? 1 : 0, Out, Experts> bias;
  };
  struct ExpertParams {
    Stack<Dim, gate_hidden, Role::hidden, gated && bias> gate_proj;
    Stack<Dim, Hidden, Role::hidden, bias> up_proj;
    Stack<Hidden, Dim, Role::residual, bias> down_proj;
  };
  struct Params {
    typename Route::Params router;
    ExpertParams experts;
    typename Shared::Params shared;
  };
  struct Cache {
    typename Route::Cache router;
    Rows<T, gate_hidden, TopK> gate;  // by slot, before the activation
    Rows<T, Hidden, TopK> up;
    Rows<W, 1, TopK> gate_of_slot;
    Rows<int, 1, TopK> pair_of_slot;
    typename Shared::Cache shared;
  };
  /// act and dslots share memory: the weight gradient of down_proj is the last to read act, and
  /// dslots is written after it.
  struct ActThenSlots {
    static constexpr bool overlaid = true;
    Rows<T, Hidden, TopK> act;
    Rows<T, Dim, TopK> dslots;
  };
  /// slots is used by forward only, dact by backward only, so they share memory. dup overwrites
  /// dact.
  struct SlotsOrGradient {
    static constexpr bool overlaid = true;
    Rows<T, Dim, TopK> slots;
    Rows<T, Hidden, TopK> dact;
  };
  struct RoutedScratch {
    typename Route::Scratch router;
    ActThenSlots act_then_dslots;
    SlotsOrGradient slots_or_dact;
    Rows<T, gate_hidden, TopK> dgate;
    Rows<W, 1, TopK> dgate_of_slot;
    Rows<W, TopK> dgates;
  };
  struct SharedScratch {
    Rows<T, shared_hidden ? Dim : 0> y;
    typename Shared::Scratch layer;
  };
  struct Scratch {
    static constexpr bool overlaid = true;
    RoutedScratch routed;
    SharedScratch shared;
  };

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch& scratch) {
    RoutedScratch& s = scratch.routed;
    Route::forward(be, pass, p.router, x, c.router);
    be.rows(x.count, kernel::GatesToSlots<W>{c.router.gates, c.router.slot_of, c.gate_of_slot,
                                             c.pair_of_slot});
    if constexpr (gated) experts(be, c, by_token(x, c), p.experts.gate_proj, c.gate);
    experts_then(be, c, by_token(x, c), p.experts.up_proj, c.up,
                 kernel::ActivationForward<W, kernel::FunctionOf<Act>, T>{
                     pre(c), up(c), s.act_then_dslots.act, c.pair_of_slot.data, drop(pass)});
    experts(be, c, matrix(s.act_then_dslots.act), p.experts.down_proj, s.slots_or_dact.slots);
    be.rows(x.count, kernel::Combine<W, T>{s.slots_or_dact.slots, c.router.gates, c.router.slot_of,
                                           y, Route::gates_sum_to_one});
    if constexpr (shared_hidden > 0) {
      SharedScratch& shared = scratch.shared;
      Shared::forward(be, pass, p.shared, x, shared.y, c.shared, shared.layer);
      be.rows(x.count, kernel::Add<T>{shared.y, y});
    }
  }

  static void backward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                       const Cache& c, Rows<const T, out> dy, Rows<T, in> dx, Params& grad,
                       Scratch& scratch, bool add = true) {
    if constexpr (shared_hidden > 0)
      Shared::backward(be, pass, p.shared, x, c.shared, dy, dx, grad.shared, scratch.shared.layer,
                       add);
    RoutedScratch& s = scratch.routed;
    const Rows<T, Hidden, TopK> act = s.act_then_dslots.act, dact = s.slots_or_dact.dact,
                                dup = dact;
    const Rows<T, Dim, TopK> dslots = s.act_then_dslots.dslots;
    // The gates scale rows of the hidden activations, so neither the experts' outputs nor a
    // permuted copy of dy is needed: <dy, down(a)> = <dy down, a>.
    back_then(be, c, by_token(dy, c), p.experts.down_proj, dact,
              kernel::ActivationBackward<W, kernel::FunctionOf<Act>, T>{
                  pre(c), up(c), dact, c.gate_of_slot, act, gated ? Table<T>(s.dgate) : dup, dup,
                  s.dgate_of_slot, c.pair_of_slot.data, drop(pass)});
    weights(be, c, by_token(dy, c), matrix(act), grad.experts.down_proj);
    if constexpr (bias)
      be.columns(Dim, slots(c),
                 kernel::BiasGrad<W, T>{c.router.token_of.data, c.gate_of_slot, dy,
                                        grad.experts.down_proj.bias});
    be.rows(x.count, kernel::GateGrad<W, T>{s.dgate_of_slot,
                                            dy,
                                            {bias ? p.experts.down_proj.bias.data : nullptr, Dim},
                                            c.router.slot_of,
                                            c.router.expert,
                                            s.dgates});
    project_back(be, x, c, p.experts.up_proj, dup, grad.experts.up_proj, dslots, W(0));
    if constexpr (gated)
      project_back(be, x, c, p.experts.gate_proj, s.dgate, grad.experts.gate_proj, dslots, W(1));
    be.rows(x.count,
            kernel::DispatchBackward<T>{dslots, c.router.slot_of, dx, add || shared_hidden > 0});
    Route::backward(be, pass, p.router, x, c.router, s.dgates, dx, grad.router, s.router);
  }

 private:
  /// The rows of x in slot order, read through the permutation without a copy.
  static Matrix<const T> by_token(Rows<const T, Dim> x, const Cache& c) {
    return {x.data, Dim, 1, c.router.token_of.data};
  }
  /// y[slot] = W_e a[slot] + b_e, where e is the expert of the slot.
  template <int In, int Out, Role R, bool Bias>
  static void experts(B& be, const Cache& c, Matrix<const T> a, const Stack<In, Out, R, Bias>& p,
                      Rows<T, Out, TopK> y) {
    be.grouped_gemm_m(slots(c), Out, In, a, transposed(matrix(p.weight)), Out * In, y.data, Out,
                      {.bias = Bias ? p.bias.data : nullptr}, Out);
  }
  /// experts, and then `kernel` for each slot.
  template <int In, int Out, Role R, bool Bias, class Kernel>
  static void experts_then(B& be, const Cache& c, Matrix<const T> a,
                           const Stack<In, Out, R, Bias>& p, Rows<T, Out, TopK> y,
                           const Kernel& kernel) {
    grouped_gemm_m_then(be, slots(c), Out, In, a, transposed(matrix(p.weight)), Out * In, y.data,
                        Out, {.bias = Bias ? p.bias.data : nullptr}, Out, kernel);
  }
  /// da[slot] = beta * da[slot] + W_e^T dy[slot].
  template <int In, int Out, Role R, bool Bias>
  static void back(B& be, const Cache& c, Matrix<const T> dy, const Stack<In, Out, R, Bias>& p,
                   Rows<T, In, TopK> da, W beta) {
    be.grouped_gemm_m(slots(c), In, Out, dy, matrix(p.weight), Out * In, da.data, In,
                      {.beta = beta});
  }
  /// da[slot] = W_e^T dy[slot], and then `kernel` for each slot.
  template <int In, int Out, Role R, bool Bias, class Kernel>
  static void back_then(B& be, const Cache& c, Matrix<const T> dy, const Stack<In, Out, R, Bias>& p,
                        Rows<T, In, TopK> da, const Kernel& kernel) {
    grouped_gemm_m_then(be, slots(c), In, Out, dy, matrix(p.weight), Out * In, da.data, In, {}, 0,
                        kernel);
  }
  /// dW_e += sum over the slots of e of dy[slot] a[slot]^T.
  template <int In, int Out, Role R, bool Bias>
  static void weights(B& be, const Cache& c, Matrix<const T> dy, Matrix<const T> a,
                      Stack<In, Out, R, Bias>& grad) {
    be.grouped_gemm_k(slots(c), Out, In, dy, a, grad.weight.data, In, Out * In, {.beta = W(1)});
  }
  template <int In, int Out, Role R, bool Bias>
  static void project_back(B& be, Rows<const T, Dim> x, const Cache& c,
                           const Stack<In, Out, R, Bias>& p, Rows<T, Out, TopK> dy,
                           Stack<In, Out, R, Bias>& grad, Rows<T, In, TopK> dslots, W beta) {
    back(be, c, matrix(dy), p, dslots, beta);
    weights(be, c, matrix(dy), by_token(x, c), grad);
    if constexpr (Bias)
      be.columns(Out, slots(c), kernel::BiasGrad<W, T>{nullptr, {}, dy, grad.bias});
  }

  /// The slots of each expert.
  static Segments slots(const Cache& c) {
    return {Experts, c.up.count, c.router.report.offset.data};
  }

  static Table<const T> pre(const Cache& c) {
    if constexpr (gated) return c.gate;
    return c.up;
  }
  static Table<const T> up(const Cache& c) {
    if constexpr (gated) return c.up;
    return {};
  }
  static Dropout drop(const Pass& pass) {
    return pass.dropout(pass.options->dropout.expert, RandomStream::expert_dropout);
  }
};

}  // namespace moe
