#include "session.hpp"

namespace shakespeare {
Model full_bytes_model() {
  return make_model<of_bytes(full_config)>();
}
}  // namespace shakespeare
