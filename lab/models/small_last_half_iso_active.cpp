#include <moe_lab/train.hpp>

lab::Model lab::small_last_half_iso_active() {
  return make_model<iso_active(last_half(small))>("small last-half iso-active");
}
