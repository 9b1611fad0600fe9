#include "session.hpp"

namespace shakespeare {
Preset nanogpt_preset() {
  return make_preset<nanogpt_config>(nanogpt_settings);
}
}  // namespace shakespeare
