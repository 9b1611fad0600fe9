// Accepted. Each other file of this folder differs from this code in one place and is refused.
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
