#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// Runs two kernels on each row, one after the other, while the row is in cache. The second may
/// read what the first wrote.
///
///     backend.rows(n, kernel::Fused{first, second});
template <class First, class Second>
struct Fused {
  First first;
  Second second;
  MOE_KERNEL int width() const requires requires(const First& f) { f.width(); }
  { return first.width(); }
  MOE_KERNEL void operator()(const auto& group, int r) const {
    first(group, r);
    second(group, r);
  }
};
template <class First, class Second>
Fused(First, Second) -> Fused<First, Second>;

}  // namespace moe::kernel
