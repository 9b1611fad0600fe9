#include <moe_lab/train.hpp>

lab::Model lab::paper_dense() {
  return make_model<dense(paper)>("paper dense");
}
