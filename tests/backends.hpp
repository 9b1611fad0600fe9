#pragma once
#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <tuple>

namespace moe::test {

/// The backends that every kernel is tested on (backend/kernels.cpp). A new backend is one more
/// name here.
using Backends = std::tuple<Reference<float>, Cpu<float>, Cpu<double>, Cpu<bfloat16>>;

}  // namespace moe::test
