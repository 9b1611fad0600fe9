#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// Runs two kernels on each row, one after the other, while the row is in cache. The second may
/// read what the first wrote.
///
///     backend.rows(n, kernel::Then{first, second});
template <class First, class Second>
struct Then {
  First first;
  Second second;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    first(group, r);
    second(group, r);
  }
};
template <class First, class Second>
Then(First, Second) -> Then<First, Second>;

}  // namespace moe::inline MOE_ISA::kernel
