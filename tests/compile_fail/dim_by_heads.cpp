// Refused: 130 is not a multiple of 4.
#include <moe/core/config.hpp>

constexpr moe::ModelConfig config{.vocab = 256,
                                  .dim = 130,
                                  .layers = 2,
                                  .heads = 4,
                                  .context = 64,
                                  .moe = {.experts = 8, .top_k = 2, .hidden = 64}};

int main() {
  moe::check<config>();
}
