#include "session.hpp"

namespace shakespeare {
Model demo_model() {
  return make_model<demo_config>();
}
}  // namespace shakespeare
