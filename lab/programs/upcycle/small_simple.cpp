#include "experiment.hpp"

namespace growth {
Program small_simple_program() {
  return &run<small_simple>;
}
}  // namespace growth
