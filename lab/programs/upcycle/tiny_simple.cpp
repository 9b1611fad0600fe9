#include "experiment.hpp"

namespace growth {
Program tiny_simple_program() {
  return &run<tiny_simple>;
}
}  // namespace growth
