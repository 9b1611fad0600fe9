#include <moe_lab/train.hpp>

lab::Model lab::small_moe() {
  return make_model<small>("small");
}
