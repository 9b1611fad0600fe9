#pragma once
#include <moe/backend/cpu.hpp>

// Declares the products of one thread, and attention, as compiled elsewhere: in products.cpp, once
// for all sources that use the precompiled header. In bfloat16 they take many seconds of each
// source. What is missing here is compiled where it is used, as all is without this file.

namespace moe::inline MOE_ISA::detail {

using RoundedFloat = Rounded<float, bfloat16>;

#ifndef MOE_COMPILE_PRODUCTS
#define MOE_COMPILE_PRODUCTS extern
#endif
// What stands last is the function.
#define MOE_PRODUCT(T, A, B, C, ...)                                                    \
  MOE_COMPILE_PRODUCTS template void __VA_ARGS__(int, int, int, const Operand<A>&,      \
                                                 const Operand<B>&, C*, std::ptrdiff_t, \
                                                 const GemmOptions<T>&, T*, const RowsAfter&);
#define MOE_BF16_PRODUCTS(...)                                          \
  MOE_PRODUCT(float, bfloat16, bfloat16, bfloat16, __VA_ARGS__)         \
  MOE_PRODUCT(float, bfloat16, bfloat16, float, __VA_ARGS__)            \
  MOE_PRODUCT(float, bfloat16, RoundedFloat, bfloat16, __VA_ARGS__)     \
  MOE_PRODUCT(float, bfloat16, RoundedFloat, float, __VA_ARGS__)        \
  MOE_PRODUCT(float, RoundedFloat, bfloat16, float, __VA_ARGS__)        \
  MOE_PRODUCT(float, RoundedFloat, RoundedFloat, bfloat16, __VA_ARGS__) \
  MOE_PRODUCT(float, RoundedFloat, RoundedFloat, float, __VA_ARGS__)
#define MOE_ATTENTION(W, T, ...)                                                                 \
  MOE_COMPILE_PRODUCTS template void BlockAttention<W, T>::forward_with<__VA_ARGS__>(            \
      const AttentionShape&, const T*, const T*, const T*, T*, W*);                              \
  MOE_COMPILE_PRODUCTS template void BlockAttention<W, T>::backward_with<__VA_ARGS__>(           \
      const AttentionShape&, const T*, const T*, const T*, const T*, const T*, const W*, T*, T*, \
      T*);

MOE_PRODUCT(double, double, double, double, multiply<Widened>)
MOE_PRODUCT(float, float, float, float, multiply<Widened>)
MOE_PRODUCT(float, float, float, bfloat16, multiply<Widened>)
MOE_PRODUCT(float, float, bfloat16, float, multiply<Widened>)
MOE_PRODUCT(float, bfloat16, float, float, multiply<Widened>)
MOE_PRODUCT(float, bfloat16, float, bfloat16, multiply<Widened>)
MOE_BF16_PRODUCTS(multiply<Widened>)
MOE_ATTENTION(double, double, Widened)
MOE_ATTENTION(float, float, Widened)
MOE_ATTENTION(float, bfloat16, Widened)
#ifdef __AVX512BF16__
MOE_BF16_PRODUCTS(multiply<Dot>)
MOE_ATTENTION(float, bfloat16, Dot)
#endif
#ifdef MOE_HAS_TILES
MOE_PRODUCT(float, float, float, float, multiply_on_tiles<Tiles, WidePacking>)
MOE_BF16_PRODUCTS(multiply_on_tiles<Tiles, WidePacking>)
MOE_ATTENTION(float, bfloat16, OnTiles<Tiles, WidePacking>)
#endif

}  // namespace moe::inline MOE_ISA::detail
