#pragma once

// Refuses to compile with options that assume NaN and infinity away, or that allow sums to be
// reordered. With them every check of this library for non-finite numbers would vanish, and runs
// would no longer be repeatable.
// lane.hpp and error.hpp include this file, so every header with arithmetic is covered. One file of
// a program compiled with such options is enough to affect all of it, because the linker keeps one
// copy of each function.
// Options that keep the numbers are fine: -ffp-contract=fast, -fno-math-errno, -fno-trapping-math,
// -fno-signed-zeros. An option that the compiler does not announce by a macro cannot be detected,
// such as -funsafe-math-optimizations alone with clang.
// Test: tests/compile_fail.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error \
    "moe: cannot be compiled with -ffast-math, -Ofast or parts of them (-ffinite-math-only, -funsafe-math-optimizations, -fassociative-math, -freciprocal-math): they delete the checks for numbers that are not finite and change results; use -O3 -ffp-contract=fast -fno-math-errno instead"
#endif

// -fsingle-precision-constant has no macro of its own. With it, 0.1 is a float.
static_assert(0.1 < static_cast<double>(0.1f),
              "moe: cannot be compiled with -fsingle-precision-constant: double loses its digits");
