#include "experiment.hpp"

namespace growth {
Program paper_simple_program() {
  return &run<paper_simple>;
}
}  // namespace growth
