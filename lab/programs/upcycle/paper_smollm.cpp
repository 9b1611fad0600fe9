#include "experiment.hpp"

namespace growth {
Program paper_smollm_program() {
  return &run<paper_smollm>;
}
}  // namespace growth
