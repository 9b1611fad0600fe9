// Refused: an expert cannot be a copy of a feed-forward that is twice as wide.
#include <moe/upcycle/recipe.hpp>

constexpr moe::ModelConfig dense{
    .vocab = 256, .dim = 128, .layers = 2, .heads = 4, .hidden = 512, .context = 64};
constexpr moe::ModelConfig mixture =
    moe::with_experts(dense, {.experts = 8, .top_k = 2, .hidden = 256});

int main() {
  moe::check_upcycle<dense, mixture, moe::Recipe::copy>();
}
