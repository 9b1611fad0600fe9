#pragma once
#include <moe/core/config.hpp>

// Declarations for headers that only name the library's types.

namespace moe::inline MOE_ISA {

template <class T>
class Cpu;
template <class T, class S>
class Reference;

struct Batch;
struct Error;
struct Loss;
struct Options;
struct SampleOptions;
struct StepReport;

}  // namespace moe
