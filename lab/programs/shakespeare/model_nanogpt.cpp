#include "session.hpp"

namespace shakespeare {
Model nanogpt_model() {
  return make_model<nanogpt_config>();
}
}  // namespace shakespeare
