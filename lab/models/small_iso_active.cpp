#include <moe_lab/train.hpp>

lab::Model lab::small_iso_active() {
  return make_model<iso_active(small)>("small iso-active");
}
