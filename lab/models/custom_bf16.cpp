// The model of custom.cpp with activations in bfloat16.
#include MOE_LAB_MODEL

#include <moe_lab/train.hpp>

namespace {

const lab::Compiled<lab::Model> model(
    "custom bf16", lab::make_model<emitted::model, moe::Cpu<moe::bfloat16>>("custom bf16"));

}  // namespace
