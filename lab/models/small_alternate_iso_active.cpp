#include <moe_lab/train.hpp>

lab::Model lab::small_alternate_iso_active() {
  return make_model<iso_active(alternate(small))>("small alternate iso-active");
}
