#include <moe_lab/train.hpp>

lab::Model lab::tiny_iso_active() {
  return make_model<iso_active(tiny)>("tiny iso-active");
}
