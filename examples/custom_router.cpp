// A router of one's own in the library's mixture of experts: no line of the library changes. It
// chooses the experts with the largest logits, as the library's does, but a gate is the sigmoid of
// its logit alone, so that experts do not compete for weight. Its gradient is written by hand, as
// every gradient here.
#include <cstdio>
#include <moe/moe.hpp>

#include "memorize.hpp"

// Row r: the experts with the largest logits, in that order, and gate = sigmoid(logit).
template <class W>
struct ChooseLargest {
  moe::Table<const W> logits;  // (n, experts)
  moe::Table<int> expert;      // (n, top_k)
  moe::Table<W> gates;         // (n, top_k)
  static constexpr bool one_lane = true;
  MOE_KERNEL void operator()(const auto&, int r) const {
    for (int j = 0; j < expert.cols; ++j) {
      int best = -1;
      for (int e = 0; e < logits.cols; ++e) {
        bool taken = false;
        for (int i = 0; i < j; ++i) taken = taken || expert(r, i) == e;
        if (!taken && (best < 0 || logits(r, best) < logits(r, e))) best = e;
      }
      expert(r, j) = best;
      gates(r, j) = moe::kernel::logistic(W(logits(r, best)));
    }
  }
};

// d gate / d logit = gate * (1 - gate) for a chosen expert, 0 for the others.
template <class W>
struct ChooseLargestBackward {
  moe::Table<const int> expert;
  moe::Table<const W> gates, dgates;
  moe::Table<W> dlogits;  // (n, experts), overwritten
  static constexpr bool one_lane = true;
  MOE_KERNEL void operator()(const auto&, int r) const {
    for (int e = 0; e < dlogits.cols; ++e) dlogits(r, e) = W(0);
    for (int j = 0; j < expert.cols; ++j)
      dlogits(r, expert(r, j)) = dgates(r, j) * gates(r, j) * (W(1) - gates(r, j));
  }
};

// What MoE and the model need of a router: see MoE.
template <int Experts, int TopK, int Dim, class B>
struct SigmoidRouter {
  using T = moe::Value<B>;
  using W = moe::Wide<B>;
  using Score = moe::Linear<Dim, Experts, B, false, moe::Role::router>;
  static constexpr bool gates_sum_to_one = false;
  using Params = typename Score::Params;
  struct Cache {
    moe::Rows<W, Experts> logits;
    moe::Rows<int, TopK> expert;
    moe::Rows<W, TopK> gates;
    moe::Rows<int, TopK> slot_of;
    moe::Rows<int, 1, TopK> token_of;
    moe::RouterReport<Experts, W> report;
  };
  struct Scratch {
    moe::Rows<W, Experts> dlogits;
  };

  static void forward(B& be, const moe::Pass&, const Params& p, moe::Rows<const T, Dim> x,
                      Cache& c) {
    Score::forward(be, p, x, c.logits);
    be.rows(x.count, ChooseLargest<W>{c.logits, c.expert, c.gates});
    be.group_by_expert(x.count, Experts, TopK, c.expert.data, c.slot_of.data, c.token_of.data,
                       c.report.offset.data);
    // This router has no probabilities, and thus no balance, z and entropy losses.
    be.zero(c.report.mean_probs.data, Experts * sizeof(W));
    be.zero(c.report.means.data, 2 * sizeof(W));
  }
  static void backward(B& be, const moe::Pass&, const Params& p, moe::Rows<const T, Dim> x,
                       const Cache& c, moe::Rows<const W, TopK> dgates, moe::Rows<T, Dim> dx,
                       Params& grad, Scratch& s) {
    be.rows(x.count, ChooseLargestBackward<W>{c.expert, c.gates, dgates, s.dlogits});
    Score::backward(be, p, x, s.dlogits, dx, grad);
  }
};

// The library's block with that router in its mixtures. Checkpoints know it by its name, and refuse
// to be loaded into a model of other blocks.
template <moe::ModelConfig C, bool Mixture, class B>
struct SigmoidBlock
    : moe::Block<
          C, Mixture, B, moe::AttentionOf<C, B>,
          std::conditional_t<
              Mixture, moe::MixtureOf<C, B, SigmoidRouter<C.moe.experts, C.moe.top_k, C.dim, B>>,
              moe::FeedForwardOf<C, B>>> {
  static constexpr std::string_view name = "sigmoid gates";
};

int main() {
  return moe::report_errors([] {
    moe::Cpu backend;
    moe::Transformer<one_line, moe::Cpu<float>, SigmoidBlock> model{backend, {.batch = 1}};
    const bool learned = memorizes_a_line(model);
    std::printf("shares of the experts in layer 0:");
    for (const double share : model.expert_load(0)) std::printf(" %.2f", share);
    std::printf("\n");
    return learned ? 0 : 1;
  });
}
