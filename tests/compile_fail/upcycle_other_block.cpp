// Refused: a leaf of the mixture's block has no counterpart in the dense model's.
#include <moe/upcycle/pairs.hpp>

struct Dense {
  moe::Param<float, moe::Role::gain, 1, 8> norm;
};
struct Mixture {
  moe::Param<float, moe::Role::gain, 1, 8> norm, other_norm;
};

int main() {
  const moe::detail::UpcyclePairs<float> pairs{Dense{}, Mixture{}};
}
