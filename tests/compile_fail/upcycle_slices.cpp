// Refused: two slices make a feed-forward, but a token chooses three, which is no whole number of
// feed-forwards.
#include <moe/upcycle/recipe.hpp>

constexpr moe::ModelConfig dense{
    .vocab = 256, .dim = 128, .layers = 2, .heads = 4, .hidden = 512, .context = 64};
constexpr moe::ModelConfig mixture =
    moe::with_experts(dense, {.experts = 8, .top_k = 3, .hidden = 256});

int main() {
  moe::check_upcycle<dense, mixture, moe::Recipe::virtual_groups>();
}
