// Refused: 4 heads cannot share 3 key-value heads evenly.
#include <moe/core/config.hpp>

constexpr moe::ModelConfig config{.vocab = 256,
                                  .dim = 128,
                                  .layers = 2,
                                  .heads = 4,
                                  .kv_heads = 3,
                                  .context = 64,
                                  .moe = {.experts = 8, .top_k = 2, .hidden = 64}};

int main() {
  moe::check<config>();
}
