#include "../train.hpp"

lab::Model lab::tiny_moe() {
  return make_model<tiny>("tiny");
}
