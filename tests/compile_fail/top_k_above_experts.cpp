// Refused: a token cannot choose 9 of 8 experts.
#include <moe/core/config.hpp>

constexpr moe::ModelConfig config{.vocab = 256,
                                  .dim = 128,
                                  .layers = 2,
                                  .heads = 4,
                                  .context = 64,
                                  .moe = {.experts = 8, .top_k = 9, .hidden = 64}};

int main() {
  moe::check<config>();
}
