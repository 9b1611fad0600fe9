#include <moe_lab/train.hpp>

lab::Model lab::tiny_dense() {
  return make_model<dense(tiny)>("tiny dense");
}
