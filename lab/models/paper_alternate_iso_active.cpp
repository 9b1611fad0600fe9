#include <moe_lab/train.hpp>

lab::Model lab::paper_alternate_iso_active() {
  return make_model<iso_active(alternate(paper))>("paper alternate iso-active");
}
