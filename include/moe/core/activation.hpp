#pragma once
#include <moe/core/isa.hpp>

namespace moe {

/// The activations of the library, as a configuration names them. What each computes is in
/// kernels/activation.hpp.
enum class Activation { gelu, gelu_tanh, silu, relu_squared, swiglu, geglu };

/// True if two matrices make the hidden row: act(gate x) * (up x).
constexpr bool is_gated(Activation a) {
  return a == Activation::swiglu || a == Activation::geglu;
}

}  // namespace moe
