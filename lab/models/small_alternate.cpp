#include <moe_lab/train.hpp>

lab::Model lab::small_alternate() {
  return make_model<alternate(small)>("small alternate");
}
