#include <moe_lab/train.hpp>

lab::Model lab::paper_moe() {
  return make_model<paper>("paper");
}
