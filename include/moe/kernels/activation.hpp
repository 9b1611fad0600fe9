#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <moe/core/activation.hpp>
#include <moe/core/lane.hpp>
#include <moe/core/random.hpp>
#include <moe/kernels/type_list.hpp>
#include <type_traits>

namespace moe::inline MOE_ISA::kernel {

/// An activation's value and derivative at one point.
template <class V>
struct Slope {
  V value, derivative;
};

template <class V, class W>
MOE_KERNEL V sigmoid(const V& x, W one) {
  return one / (one + kernel::exp(-x));
}

/// The smooth activations for V, a scalar or a SIMD pack with elements of type T. A backend may
/// specialize this struct for its packs. A scalar float is computed in double, because 1 + erf(x)
/// cancels where x is very negative.
template <class V>
struct ActivationMath {
  template <class T>
  MOE_KERNEL static Slope<V> gelu(const V& x) {
#ifndef __CUDA_ARCH__
    if constexpr (std::is_same_v<V, float>) {
      const double z = x, phi = 0.5 * std::erfc(-0.70710678118654752440 * z);
      return {V(z * phi), V(phi + 0.39894228040143267794 * z * std::exp(-0.5 * z * z))};
    }
#endif
    const V phi = T(0.5) * (T(1) + kernel::erf(x * T(0.70710678118654752440)));
    return {x * phi, phi + x * T(0.39894228040143267794) * kernel::exp(T(-0.5) * x * x)};
  }
  template <class T>
  MOE_KERNEL static Slope<V> gelu_tanh(const V& x) {
    const T c = T(0.79788456080286535588), a = T(0.044715);
#ifndef __CUDA_ARCH__
    if constexpr (std::is_same_v<V, float>) {
      const double z = x, k = 1.59576912160573071176,
                   s = sigmoid(k * z * (1 + 0.044715 * z * z), 1.0);
      return {V(z * s), V(s * (1 + k * z * (1 + 3 * 0.044715 * z * z) * (1 - s)))};
    }
#endif
    const V t = kernel::tanh(c * (x + a * x * x * x));
    return {T(0.5) * x * (T(1) + t),
            T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * c * (T(1) + T(3) * a * x * x)};
  }
  template <class T>
  MOE_KERNEL static Slope<V> silu(const V& x) {
#ifndef __CUDA_ARCH__
    if constexpr (std::is_same_v<V, float>) {
      const double z = x, s = sigmoid(z, 1.0);
      return {V(z * s), V(s * (1 + z * (1 - s)))};
    }
#endif
    const V s = sigmoid(x, T(1));
    return {x * s, s * (T(1) + x * (T(1) - s))};
  }
};

// An activation is a struct with two members: `at`, its value and derivative at one point, and
// `gated`, whether the hidden row is act(gate x) * (up x) or act(up x). T is the number type of its
// constants. One of the user's own: examples/custom_activation.cpp.

/// x * Phi(x): GELU with the exact normal distribution function.
template <class W>
struct Gelu {
  static constexpr bool gated = false;
  template <class V>
  MOE_KERNEL static Slope<V> at(const V& x) {
    return ActivationMath<V>::template gelu<W>(x);
  }
};

/// x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
template <class W>
struct GeluTanh {
  static constexpr bool gated = false;
  template <class V>
  MOE_KERNEL static Slope<V> at(const V& x) {
    return ActivationMath<V>::template gelu_tanh<W>(x);
  }
};

/// x * sigmoid(x).
template <class W>
struct Silu {
  static constexpr bool gated = false;
  template <class V>
  MOE_KERNEL static Slope<V> at(const V& x) {
    return ActivationMath<V>::template silu<W>(x);
  }
};

/// max(x, 0)^2.
template <class W>
struct ReluSquared {
  static constexpr bool gated = false;
  template <class V>
  MOE_KERNEL static Slope<V> at(const V& x) {
    const V positive = select(x > V(W(0)), x, V(W(0)));
    return {positive * positive, W(2) * positive};
  }
};

/// An activation behind a gate: SwiGLU, GEGLU (Shazeer 2020, arXiv:2002.05202).
template <class Act>
struct Gated : Act {
  static constexpr bool gated = true;
};

template <class Act>
struct UngatedActivation : std::type_identity<Act> {};
template <class Act>
struct UngatedActivation<Gated<Act>> : std::type_identity<Act> {};

/// The activations that a configuration can name, in the order of enum Activation: an activation of
/// the library is one entry here and its name in core/activation.hpp.
template <class W>
using Activations =
    List<Gelu<W>, GeluTanh<W>, Silu<W>, ReluSquared<W>, Gated<Silu<W>>, Gated<Gelu<W>>>;

template <class W, Activation A>
using ActivationOf = typename TypeAt<std::size_t(A), Activations<W>>::type;

/// The function of an activation, whether it is behind a gate or not: kernels are the same for
/// both.
template <class Act>
using FunctionOf = typename UngatedActivation<Act>::type;

/// y = m * act(pre), or m * act(gate) * up if `up.data` is set. m is the dropout mask.
/// A row may be an expert slot. `number[r]` is then its (token, choice) pair, which selects the
/// mask, so that the mask does not depend on the order of the slots.
template <class W, class Act, class T = W>
struct ActivationForward {
  Table<const T> pre, up;  // (n, hidden); `up` only for gated activations
  Table<T> y;
  const int* number;  // null: row r itself
  Dropout dropout;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each(pre.cols, [&](auto i) {
      auto value = Act::at(pre[r][i]).value;
      if (up.data) value = value * up[r][i];
      if (dropout.active()) value = value * mask(i, r);
      y[r][i] = value;
    });
  }
  MOE_KERNEL auto mask(auto i, int r) const {
    const std::uint64_t row = std::uint64_t(number ? number[r] : r);
    return dropout_factors(i, dropout, row * std::uint64_t(pre.cols));
  }
};

/// Backward of y = g * m * act(pre) [* up], where g is the gate of the row (1 if `gates.data` is
/// null):
///     dpre  = g * m * dy * act'(pre) [* up]
///     dup   = g * m * dy * act(pre)
///     dgate = <dy, m * act(pre) [* up]>
/// It also recomputes y, which the weight gradient of the next matrix needs.
/// dpre or dup may share memory with dy: each element of dy is read before it is overwritten.
template <class W, class Act, class T = W>
struct ActivationBackward {
  Table<const T> pre, up, dy;  // (n, hidden)
  Table<const W> gates;        // (n, 1)
  Table<T> y, dpre, dup;       // dup: gated activations only
  Table<W> dgates;             // may be null
  const int* number;
  Dropout dropout;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W gate = gates.data ? W(gates(r)) : W(1);
    const ActivationForward<W, Act, T> forward{pre, up, y, number, dropout};
    const W dgate = group.sum(pre.cols, [&](auto i) {
      const auto slope = Act::at(pre[r][i]);
      auto upstream = dy[r][i];
      if (dropout.active()) upstream = upstream * forward.mask(i, r);
      const auto scaled = gate * upstream;
      if (up.data) {
        dpre[r][i] = scaled * slope.derivative * up[r][i];
        dup[r][i] = scaled * slope.value;
      } else {
        dpre[r][i] = scaled * slope.derivative;
      }
      auto value = slope.value;
      if (up.data) value = value * up[r][i];
      auto masked = value * gate;
      if (dropout.active()) masked = masked * forward.mask(i, r);
      y[r][i] = masked;
      return upstream * value;
    });
    if (dgates.data) group.once([&] { dgates(r) = dgate; });
  }
};

}  // namespace moe::kernel
