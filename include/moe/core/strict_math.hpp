#pragma once

// Refuses compilers that were told to treat numbers as if NaN and infinity did not exist or sums
// had no order: every guard of this library against numbers that are not finite would vanish, and
// runs would no longer be repeatable. Included by lane.hpp and error.hpp, so that every header
// with arithmetic sees it: one file of a program compiled in another way is enough to spoil all of
// it, as the linker keeps one copy of each function. Options that keep the numbers are fine:
// -ffp-contract=fast, -fno-math-errno, -fno-trapping-math, -fno-signed-zeros. What a compiler does
// not announce by a macro cannot be refused, as clang with -funsafe-math-optimizations alone.
// Test: tests/compile_fail.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error \
    "moe: cannot be compiled with -ffast-math, -Ofast or parts of them (-ffinite-math-only, -funsafe-math-optimizations, -fassociative-math, -freciprocal-math): they delete the checks for numbers that are not finite and change results; use -O3 -ffp-contract=fast -fno-math-errno instead"
#endif

// -fsingle-precision-constant has no macro of its own: with it 0.1 is a float.
static_assert(0.1 < static_cast<double>(0.1f),
              "moe: cannot be compiled with -fsingle-precision-constant: double loses its digits");
