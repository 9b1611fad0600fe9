#include "../train.hpp"

lab::Model lab::paper_alternate() {
  return make_model<alternate(paper)>("paper alternate");
}
