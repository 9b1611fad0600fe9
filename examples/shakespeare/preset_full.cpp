#include "session.hpp"

namespace shakespeare {
Preset full_preset() {
  return make_preset<full_config>(full_settings);
}
}  // namespace shakespeare
