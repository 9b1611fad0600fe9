#pragma once
#include <moe/kernels/activation.hpp>
#include <moe/kernels/adamw.hpp>
#include <moe/kernels/bias_grad.hpp>
#include <moe/kernels/cross_entropy.hpp>
#include <moe/kernels/dispatch.hpp>
#include <moe/kernels/dropout.hpp>
#include <moe/kernels/embedding.hpp>
#include <moe/kernels/expert_bias.hpp>
#include <moe/kernels/fuse.hpp>
#include <moe/kernels/gradient_norm.hpp>
#include <moe/kernels/layer_norm.hpp>
#include <moe/kernels/muon.hpp>
#include <moe/kernels/newton_schulz.hpp>
#include <moe/kernels/report.hpp>
#include <moe/kernels/residual.hpp>
#include <moe/kernels/rms_norm.hpp>
#include <moe/kernels/rope.hpp>
#include <moe/kernels/router.hpp>

// Every kernel that this library launches. Whoever needs all of them walks this list: the parity
// tests, the benchmarks, the check with nvcc, and a backend that instantiates its kernels
// beforehand. In each line Wide is a backend's type of parameters and arithmetic, Stored the type
// in which it stores activations. Layers do not include this file.

namespace moe::inline MOE_ISA::kernel {

template <class Wide, class Stored = Wide>
using NormKernels = List<RmsNormForward<Wide, Stored>, RmsNormApply<Wide, Stored>,
                         RmsNormBackward<Wide, Stored>, RmsNormGainGrad<Wide, Stored>,
                         LayerNormForward<Wide, Stored>, LayerNormApply<Wide, Stored>,
                         LayerNormBackward<Wide, Stored>, LayerNormGainGrad<Wide, Stored>>;

/// Of all that a configuration can name. Behind a gate an activation has the same kernels.
template <class Act, class Wide, class Stored>
using KernelsOfActivation = std::conditional_t<
    Act::gated, List<>,
    List<ActivationForward<Wide, Act, Stored>, ActivationBackward<Wide, Act, Stored>>>;
template <class Wide, class Stored, class... Acts>
Join<KernelsOfActivation<Acts, Wide, Stored>...> kernels_of(List<Acts...>);
template <class Wide, class Stored = Wide>
using ActivationKernels = decltype(kernels_of<Wide, Stored>(Activations<Wide>()));

/// The outputs of router and head are of type Wide, all others of type Stored.
template <class Wide, class Stored = Wide>
using BiasKernels = std::conditional_t<std::is_same_v<Wide, Stored>, List<BiasGrad<Wide, Wide>>,
                                       List<BiasGrad<Wide, Stored>, BiasGrad<Wide, Wide>>>;

template <class Wide, class Stored = Wide>
using ResidualKernels = List<Add<Stored>, Drop<Stored>, DropAdd<Stored>,
                             Fused<DropAdd<Stored>, RmsNormForward<Wide, Stored>>,
                             Fused<DropAdd<Stored>, LayerNormForward<Wide, Stored>>>;

/// Models that are only run store embeddings as activations.
template <class Wide, class Stored = Wide>
using EmbeddingKernels =
    std::conditional_t<std::is_same_v<Wide, Stored>,
                       List<EmbeddingForward<Wide>, EmbeddingGrad<Wide>>,
                       List<EmbeddingForward<Wide, Stored>, EmbeddingForward<Wide, Stored, Stored>,
                            EmbeddingGrad<Wide, Stored>>>;

template <class Wide, class Stored = Wide>
using RopeKernels = List<RopeTable<Wide>, RopeHalf<Wide, Stored>, RopeInterleaved<Wide, Stored>>;

template <class Wide>
using RouterKernels =
    List<RouteForward<Wide>, RouteBackward<Wide>, ColumnMean<Wide>, LoadExcess<Wide>>;

template <class Wide, class Stored = Wide>
using DispatchKernels = List<GatesToSlots<Wide>, Combine<Wide, Stored>, DispatchBackward<Stored>,
                             GateGrad<Wide, Stored>>;

template <class Wide>
using LossKernels =
    List<CrossEntropyForward<Wide>, CrossEntropyBackward<Wide>,
         Fused<CrossEntropyForward<Wide>, CrossEntropyBackward<Wide>>, FinishReport<Wide>>;

template <class Wide>
using OptimizerKernels =
    List<GradientSquare<Wide>, MatrixSquare<Wide>, DecideStep, AdamWPrepare, AdamW<Wide>,
         ExpertBiasStep<Wide>, Fused<Momentum<Wide>, NormSquare<Wide>>, Descend<Wide>>;

/// Newton-Schulz orthogonalization, beside the products.
template <class Wide>
using NewtonSchulzKernels = List<NormSquare<Wide>, InverseNorm<Wide>, ScaleMatrix<Wide>>;

/// What a backend may launch itself, in its symmetric_gemm.
template <class Wide>
using SymmetricKernels = List<Polynomial<Wide>, Mirror<Wide>>;

/// All of them. A kernel that a layer or an optimizer launches must be in this list
/// (tests/model/kernel_list.cpp), and so must every kernel of this folder
/// (tests/tools/check_kernel_list.py).
template <class Wide, class Stored = Wide>
using AllKernels =
    Join<NormKernels<Wide, Stored>, ActivationKernels<Wide, Stored>, BiasKernels<Wide, Stored>,
         ResidualKernels<Wide, Stored>, EmbeddingKernels<Wide, Stored>, RopeKernels<Wide, Stored>,
         RouterKernels<Wide>, DispatchKernels<Wide, Stored>, LossKernels<Wide>,
         OptimizerKernels<Wide>, NewtonSchulzKernels<Wide>, SymmetricKernels<Wide>>;

/// True if the list contains Kernel.
///
///     static_assert(moe::kernel::is_in<Kernel, moe::kernel::AllKernels<Wide, Stored>>,
///                   "moe: this kernel is not in moe/kernels/list.hpp");
template <class Kernel, class Kernels>
inline constexpr bool is_in = false;
template <class Kernel, class... Kernels>
inline constexpr bool is_in<Kernel, List<Kernels...>> = (std::is_same_v<Kernel, Kernels> || ...);

/// True for a kernel of `columns`, which says how many sums it needs; the others are of `rows`.
template <class Kernel>
inline constexpr bool is_column_kernel = requires {
  Kernel::sums;
};

/// Calls f.template operator()<Type>() for each type of a list, in order.
template <class... Types, class F>
constexpr void for_each(List<Types...>, const F& f) {
  (f.template operator()<Types>(), ...);
}

}  // namespace moe::kernel
