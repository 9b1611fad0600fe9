// Refused: upcycling copies attention and embeddings, so the width must stay.
#include <moe/upcycle/recipe.hpp>

constexpr moe::ModelConfig dense{
    .vocab = 256, .dim = 128, .layers = 2, .heads = 4, .hidden = 512, .context = 64};
constexpr moe::ModelConfig mixture{.vocab = 256,
                                   .dim = 64,
                                   .layers = 2,
                                   .heads = 4,
                                   .hidden = 512,
                                   .context = 64,
                                   .moe = {.experts = 8, .top_k = 2}};

int main() {
  moe::check_upcycle<dense, mixture, moe::Recipe::copy>();
}
