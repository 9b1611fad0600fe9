// Trains with an optimizer of one's own. An optimizer is a list of rules, each of which takes the
// parameters of some roles: here ExpertBiasRule, LionRule for matrices and embeddings, and
// AdamWRule for what is left. Memory plans, checkpoints and Trainer know it without another line.
#include "lion.hpp"
#include "memorize.hpp"

int main() {
  return moe::report_errors([] {
    moe::Cpu backend;
    moe::Transformer<one_line> model{backend, {.batch = 1}};
    moe::Optimizer optimizer{model,
                             {.clip = 1},
                             moe::ExpertBiasRule{},
                             LionRule{.lr = 2e-3},
                             moe::AdamWRule{.lr = 1e-2}};
    return memorizes_a_line(model, optimizer) ? 0 : 1;
  });
}
