#include <moe_lab/train.hpp>

lab::Model lab::small_dense() {
  return make_model<dense(small)>("small dense");
}
