#include "experiment.hpp"

namespace growth {
Program small_smollm_program() {
  return &run<small_smollm>;
}
}  // namespace growth
