#include "session.hpp"

namespace shakespeare {
Preset demo_preset() {
  return make_preset<demo_config>(demo_settings);
}
}  // namespace shakespeare
