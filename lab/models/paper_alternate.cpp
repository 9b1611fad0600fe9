#include <moe_lab/train.hpp>

lab::Model lab::paper_alternate() {
  return make_model<alternate(paper)>("paper alternate");
}
