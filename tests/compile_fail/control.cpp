// Accepted: what the other files of this folder change in one place.
#include <moe/backend/backend.hpp>
#include <moe/backend/reference.hpp>
#include <moe/core/config.hpp>

constexpr moe::ModelConfig config{.vocab = 256,
                                  .dim = 128,
                                  .layers = 2,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .context = 64,
                                  .moe = {.experts = 8, .top_k = 2, .hidden = 64}};

static_assert(moe::Backend<moe::Reference<double>>);

int main() {
  moe::check<config>();
}
