#include "session.hpp"

namespace shakespeare {
Model full_model() {
  return make_model<full_config>();
}
}  // namespace shakespeare
