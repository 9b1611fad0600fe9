#include "../train.hpp"

lab::Model lab::tiny_dense() {
  return make_model<dense(tiny)>("tiny dense");
}
