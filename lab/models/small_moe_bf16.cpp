#include <moe_lab/train.hpp>

lab::Model lab::small_moe_bf16() {
  return make_model<small, moe::Cpu<moe::bfloat16>>("small bf16");
}
