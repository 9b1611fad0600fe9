#include <moe_lab/train.hpp>

lab::Model lab::small_last_half() {
  return make_model<last_half(small)>("small last-half");
}
