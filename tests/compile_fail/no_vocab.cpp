// Refused: a model without tokens.
#include <moe/core/config.hpp>

constexpr moe::ModelConfig config{.vocab = 0,
                                  .dim = 128,
                                  .layers = 2,
                                  .heads = 4,
                                  .context = 64,
                                  .moe = {.experts = 8, .top_k = 2, .hidden = 64}};

int main() {
  moe::check<config>();
}
