// Trains with an optimizer of one's own. An optimizer is a list of rules, each of which takes the
// parameters of some roles: here ExpertBiasRule, LionRule for matrices and embeddings, and
// AdamWRule for what is left. Memory plans, checkpoints and Trainer know it without another line.
#include "lion.hpp"
#include "memorize.hpp"

constexpr moe::ModelConfig config{.vocab = 27,
                                  .dim = 32,
                                  .layers = 2,
                                  .heads = 2,
                                  .context = 16,
                                  .moe = {.experts = 4, .top_k = 2, .hidden = 64}};

int main() {
  return moe::report_errors([] {
    moe::Cpu backend;
    moe::Transformer<config> model{backend, {.batch = 1}};
    moe::Optimizer optimizer{model,
                             {.clip = 1},
                             moe::ExpertBiasRule{},
                             LionRule{.lr = 2e-3},
                             moe::AdamWRule{.lr = 1e-2}};
    return memorizes_a_line(model, optimizer) ? 0 : 1;
  });
}
