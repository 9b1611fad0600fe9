// Refused: the data member hides the function, so that the backend cannot route tokens.
#include <moe/backend/backend.hpp>
#include <moe/backend/reference.hpp>

struct NoSort : moe::Reference<double> {
  int group_by_expert;
};

static_assert(moe::Backend<NoSort>);

int main() {}
