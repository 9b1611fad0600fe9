#include <moe_lab/train.hpp>

lab::Model lab::tiny_moe_bf16() {
  return make_model<tiny, moe::Cpu<moe::bfloat16>>("tiny bf16");
}
