#pragma once
#include <moe/core/config.hpp>

// Declarations for headers that only name the library's types.

namespace moe {

struct Batch;
struct Error;

}  // namespace moe

namespace moe::inline MOE_ISA {

template <class T>
class Cpu;
template <class T, class S>
class Reference;

struct Loss;
struct Options;
struct SampleOptions;
struct StepReport;

}  // namespace moe
