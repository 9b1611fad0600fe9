#pragma once
#include <moe/core/config.hpp>
#include <moe/kernels/router.hpp>
#include <moe/layers/linear.hpp>

namespace moe::inline MOE_ISA {

/// Compile-time options of Router.
struct RouterTraits {
  Scoring scoring = Scoring::softmax;
  bool renormalize = true;
  bool expert_bias = false;
  bool bias = false;
};

/// The results of a router in one pass, in device memory. The leaves are contiguous, so that one
/// copy transfers all of them.
template <int Experts, class W>
struct RouterReport {
  Fixed<int, Experts + 1> offset;  // slots of expert e: offset[e] ... offset[e + 1] - 1
  Fixed<W, Experts> mean_probs;    // mean over the tokens of the probability of each expert
  Fixed<W, 2> means;               // over the tokens: logsumexp(logits)^2, entropy of the probs
};

/// Chooses TopK of Experts for every token:  logits = x W^T,  probs = softmax(logits),  gates = the
/// chosen probs, divided by their sum if `renormalize`. Sigmoid scoring uses sigmoid(logits) as
/// scores. Scores that underflow W cause no division by 0. Ties go to the higher logit, then to the
/// lower index.
/// Backward takes the gradient of the gates and adds those of the balance, z and entropy losses
/// (weights in Options; each loss is a mean over tokens and MoE layers).
/// Shapes: x (n, Dim), weight (Experts, Dim); cache: logits and probs (n, Experts), gates (n,
/// TopK).
/// Source: Fedus et al. 2021, arXiv:2101.03961, eq. 4-6; Zoph et al. 2022, arXiv:2202.08906, eq. 5;
/// Wang et al. 2024, arXiv:2408.15664 (expert bias).  Test: tests/layers/router.cpp.
///
///     using R = moe::Router<8, 2, 256, moe::Cpu<float>>;
///     R::forward(backend, pass, params, x, cache);  // cache.expert, cache.gates, cache.slot_of
///     ...
template <int Experts, int TopK, int Dim, Backend B, RouterTraits Traits = RouterTraits{}>
struct Router {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters and sums
  static constexpr int in = Dim;
  using Score = Linear<Dim, Experts, B, Traits.bias, Role::router>;
  static constexpr bool gates_sum_to_one = Traits.renormalize;

  struct ExpertBias {
    Param<W, Role::expert_bias, Traits.expert_bias ? 1 : 0, Experts> bias;
  };
  struct Params {
    Param<W, Role::router, Experts, Dim> weight;
    Param<W, Role::bias, Traits.bias ? 1 : 0, Experts> bias;
    ExpertBias selection;
  };
  struct Cache {
    Rows<W, Experts> logits, probs;
    Rows<int, TopK> expert;
    Rows<W, TopK> gates;
    Rows<W, 1> lse;
    Rows<W, 2> token_stats;  // logsumexp(logits)^2, entropy of the probs
    Rows<int, TopK> slot_of;
    Rows<int, 1, TopK> token_of;
    RouterReport<Experts, W> report;
  };
  struct Scratch {
    Rows<W, Experts> dlogits;
  };

  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Cache& c) {
    Score::forward(be, {p.weight, p.bias}, x, c.logits);
    be.rows(x.count,
            kernel::RouteForward<W>{c.logits,
                                    {Traits.expert_bias ? p.selection.bias.data : nullptr, Experts},
                                    c.probs,
                                    c.expert,
                                    c.gates,
                                    c.lse,
                                    c.token_stats,
                                    routing(pass)});
    be.group_by_expert(x.count, Experts, TopK, c.expert.data, c.slot_of.data, c.token_of.data,
                       c.report.offset.data);
    be.columns(Experts, {1, x.count},
               kernel::ColumnMean<W>{x.count, c.probs, {c.report.mean_probs.data, Experts}});
    be.columns(2, {1, x.count},
               kernel::ColumnMean<W>{x.count, c.token_stats, {c.report.means.data, 2}});
  }

  static void backward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                       const Cache& c, Rows<const W, TopK> dgates, Rows<T, in> dx, Params& grad,
                       Scratch& s) {
    const Options& o = *pass.options;
    const double each = pass.loss_scale / (double(pass.moe_layers) * double(x.count));
    be.rows(x.count, kernel::RouteBackward<W>{c.logits, c.probs, c.expert, c.gates, c.lse, dgates,
                                              c.report.offset.data, s.dlogits, routing(pass),
                                              W(o.balance_weight * each), W(o.z_weight * each),
                                              W(o.entropy_weight * each)});
    if constexpr (Traits.expert_bias)
      be.rows(1, kernel::LoadExcess<W>{Experts, c.report.offset.data, grad.selection.bias});
    typename Score::Params score{grad.weight, grad.bias};
    Score::backward(be, {p.weight, p.bias}, x, s.dlogits, dx, score);
  }

 private:
  static kernel::Routing routing(const Pass& pass) {
    return {TopK,
            Traits.scoring == Scoring::sigmoid,
            Traits.renormalize,
            pass.options->round_robin_routing,
            pass.training ? pass.options->router_noise : 0,
            pass.options->seed,
            stream(pass.step, std::uint32_t(pass.layer), RandomStream::router_noise),
            pass.step_in_memory};
  }
};

}  // namespace moe
