#include <moe/moe.hpp>

int refused_in_second();
int refused_in_second() {
  try {
    throw moe::Error("said in the second file");
  } catch (const moe::Error&) {
    return 1;
  }
}
