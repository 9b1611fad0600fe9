// A router of one's own in the library's mixture of experts: no line of the library changes. It
// scores the experts by a projection that is never trained and mixes the chosen ones in equal
// parts. Fixed routing of this kind is a baseline for learned routers (Roller et al. 2021,
// arXiv:2106.04426).
#include <cstdio>
#include <moe/moe.hpp>

#include "memorize.hpp"

// Chooses the experts with the largest logits, in that order, and gives each the same gate.
template <class W>
struct ChooseLargest {
  moe::Table<const W> logits;
  moe::Table<int> expert;  // (n, top_k)
  moe::Table<W> gates;     // (n, top_k)
  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.once([&] {
      for (int j = 0; j < expert.cols; ++j) {
        int best = -1;
        for (int e = 0; e < logits.cols; ++e) {
          bool taken = false;
          for (int i = 0; i < j; ++i) taken = taken || expert(r, i) == e;
          if (!taken && (best < 0 || logits(r, best) < logits(r, e))) best = e;
        }
        expert(r, j) = best;
        gates(r, j) = W(1) / W(expert.cols);
      }
    });
  }
};

// MoE and the model read of a router: gates_sum_to_one, and the fields expert, gates, slot_of,
// token_of and report of its Cache.
template <int Experts, int TopK, int Dim, class B>
struct FixedRouter {
  using T = moe::Value<B>;
  using W = moe::Wide<B>;
  using Score = moe::Linear<Dim, Experts, B, false, moe::Role::router>;
  static constexpr bool gates_sum_to_one = true;
  using Params = typename Score::Params;
  struct Cache {
    moe::Rows<W, Experts> logits;
    moe::Rows<int, TopK> expert;
    moe::Rows<W, TopK> gates;
    moe::Rows<int, TopK> slot_of;
    moe::Rows<int, 1, TopK> token_of;
    moe::RouterReport<Experts, W> report;
  };
  struct Scratch {};

  static void forward(B& be, const moe::Pass&, const Params& p, moe::Rows<const T, Dim> x,
                      Cache& c) {
    Score::forward(be, p, x, c.logits);
    be.rows(x.count, ChooseLargest<W>{c.logits, c.expert, c.gates});
    be.group_by_expert(x.count, Experts, TopK, c.expert.data, c.slot_of.data, c.token_of.data,
                       c.report.offset.data);
    be.zero(c.report.mean_probs.data, Experts * sizeof(W));  // this router has no probabilities
    be.zero(c.report.means.data, 2 * sizeof(W));
  }
  // The choice has no gradient, and the gates are constants.
  static void backward(B&, const moe::Pass&, const Params&, moe::Rows<const T, Dim>, const Cache&,
                       moe::Rows<const W, TopK>, moe::Rows<T, Dim>, Params&, Scratch&) {}
};

template <moe::ModelConfig C, class B>
using FixedRouterOf = FixedRouter<C.moe.experts, C.moe.top_k, C.dim, B>;

// The library's block with that router in its mixtures.
template <moe::ModelConfig C, bool Mixture, class B>
using FixedRoutingBlock =
    moe::Block<C, Mixture, B, moe::AttentionOf<C, B>,
               std::conditional_t<Mixture, moe::MixtureOf<C, B, FixedRouterOf<C, B>>,
                                  moe::FeedForwardOf<C, B>>>;

constexpr moe::ModelConfig config{.vocab = 27,
                                  .dim = 32,
                                  .layers = 2,
                                  .heads = 2,
                                  .context = 16,
                                  .moe = {.experts = 4, .top_k = 2, .hidden = 64}};

int main() {
  return moe::report_errors([] {
    moe::Cpu backend;
    moe::Transformer<config, moe::Cpu<float>, FixedRoutingBlock> model{backend, {.batch = 1}};
    const bool learned = memorizes_a_line(model);
    std::printf("shares of the experts in layer 0:");
    for (const double share : model.expert_load(0)) std::printf(" %.2f", share);
    std::printf("\n");
    return learned ? 0 : 1;
  });
}
