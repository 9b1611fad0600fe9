#include "../train.hpp"

lab::Model lab::paper_dense() {
  return make_model<dense(paper)>("paper dense");
}
