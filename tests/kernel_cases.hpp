#pragma once
// One case for each kernel of moe/kernels/list.hpp: how to launch it on given operands. Used by the
// parity tests (backend/kernels.cpp) and the benchmarks (benchmarks/kernels.cpp).
#include "kernel_cases/layers.hpp"
#include "kernel_cases/loss.hpp"
#include "kernel_cases/mixture.hpp"
#include "kernel_cases/optimizers.hpp"
