#include <cstdio>
#include <moe/moe.hpp>

int refused_in_second();

int main() {
  try {
    throw moe::Error("moe: said in the first file");
  } catch (const moe::Error& error) {
    std::printf("%s, refused %d\n", error.what(), refused_in_second());
  }
}
