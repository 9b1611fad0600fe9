#pragma once

// The name of the instruction set that this translation unit is compiled for. All that computes is
// in an inline namespace of this name: `moe::Cpu` is `moe::x86_avx512_bf16::Cpu` to the linker. So
// a program may contain translation units with other -m options: each keeps its own functions.
// Without the namespace the linker would take one copy of each inline function for all of them,
// with instructions that a machine may lack and with results that depend on the order of linking.
// Test: tests/programs/instruction_sets.

#if defined(__AVX512F__)
#define MOE_SIMD x86_avx512
#elif defined(__AVX2__)
#define MOE_SIMD x86_avx2
#elif defined(__AVX__)
#define MOE_SIMD x86_avx
#elif defined(__SSE4_2__)
#define MOE_SIMD x86_sse42
#elif defined(__x86_64__) || defined(__i386__)
#define MOE_SIMD x86
#elif defined(__ARM_NEON)
#define MOE_SIMD arm_neon
#else
#define MOE_SIMD generic
#endif

#if defined(__FMA__) && !defined(__AVX512F__)
#define MOE_FMA _fma
#else
#define MOE_FMA
#endif

#if defined(__AMX_BF16__)
#define MOE_BF16 _amx
#elif defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16)
#define MOE_BF16 _bf16
#else
#define MOE_BF16
#endif

#define MOE_JOIN_EXPANDED(a, b, c) a##b##c
#define MOE_JOIN(a, b, c) MOE_JOIN_EXPANDED(a, b, c)
#define MOE_ISA MOE_JOIN(MOE_SIMD, MOE_FMA, MOE_BF16)
