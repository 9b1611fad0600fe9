#pragma once
// How to launch each kernel of moe/kernels/list.hpp on operands of one's choice: for the parity
// tests (backend/kernels.cpp) and the benchmarks (benchmarks/kernels.cpp). One case for each
// kernel.
#include "kernel_cases/layers.hpp"
#include "kernel_cases/loss.hpp"
#include "kernel_cases/mixture.hpp"
#include "kernel_cases/optimizers.hpp"
