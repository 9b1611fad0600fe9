#pragma once
#include <cstdint>
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// The numbers of the current update, in the backend's memory: kernels decide there whether it is
/// made, so that the host need not wait for the gradient's norm.
struct StepControl {
  double lr_factor = 1;   // from the schedule; the host writes it before each update
  double norm = 0;        // of the gradient before clipping; may be the reason of `skip`
  double grad_scale = 1;  // from clipping: multiplies gradients; 0 if the update is skipped
  double last_finite_norm = 0;
  // Updates made, and skipped since the start and in a row until now.
  std::int64_t updates = 0, skipped = 0, consecutive_skips = 0;
  int skip = 0;             // 1: a loss or a gradient was not finite, so nothing changes
  int loss_not_finite = 0;  // 1: a loss was not
  int first_bad_leaf = -1;  // the first leaf with a gradient that was not
};

}  // namespace moe::kernel
