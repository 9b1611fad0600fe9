#include <moe_lab/train.hpp>

lab::Model lab::tiny_moe() {
  return make_model<tiny>("tiny");
}
