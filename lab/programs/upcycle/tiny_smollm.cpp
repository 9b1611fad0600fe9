#include "experiment.hpp"

namespace growth {
Program tiny_smollm_program() {
  return &run<tiny_smollm>;
}
}  // namespace growth
