#include "session.hpp"

namespace shakespeare {
Model demo_bytes_model() {
  return make_model<of_bytes(demo_config)>();
}
}  // namespace shakespeare
