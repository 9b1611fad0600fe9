#include <cstdio>
#include <moe/moe.hpp>
#include <smollm.hpp>

static_assert(models::smollm.kv_heads == 3 && models::smollm.head_dim() == 64);
using Smollm = moe::Transformer<models::smollm, moe::Cpu<float>>;
static_assert(Smollm::config.layers == 30 && Smollm::config.tied);

int refused_in_second();

int main() {
  try {
    throw moe::Error("said in the first file");
  } catch (const moe::Error& error) {
    std::printf("%s, refused %d\n", error.what(), refused_in_second());
  }
}
