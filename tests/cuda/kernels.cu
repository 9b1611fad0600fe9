#include <moe/core/bfloat16.hpp>
#include <moe/kernels/list.hpp>

// Compiles every kernel of the list as device code. One thread does the work of a group. The file
// is only compiled (tests/tools/check_nvcc.py), not run.

namespace {

using namespace moe;

template <class Wide>
struct Group {
  template <class F>
  MOE_KERNEL void for_each(int n, const F& f) const {
    for (int i = 0; i < n; ++i) f(Lane<Wide>{i});
  }
  template <class F>
  MOE_KERNEL void for_each_index(int n, const F& f) const {
    for (int i = 0; i < n; ++i) f(i);
  }
  template <class F>
  MOE_KERNEL void once(const F& f) const {
    f();
  }
  template <class F>
  MOE_KERNEL Wide sum(int n, const F& f) const {
    Wide total(0);
    for (int i = 0; i < n; ++i) total = total + f(Lane<Wide>{i});
    return total;
  }
  template <class F>
  MOE_KERNEL double total(int n, const F& f) const {
    return serial_total(n, f);
  }
  template <class F>
  MOE_KERNEL Wide max(int n, const F& f) const {
    Wide most = f(Lane<Wide>{0});
    for (int i = 1; i < n; ++i) {
      const Wide value = f(Lane<Wide>{i});
      if (most < value) most = value;
    }
    return most;
  }
};

template <class Wide, class Kernel>
__global__ void launch(Kernel kernel) {
  const int i = int(blockIdx.x);
  if constexpr (moe::kernel::is_column_kernel<Kernel>) {
    Wide sums[Kernel::sums] = {};
    kernel.add(sums, Lane<Wide>{i}, 0);
    kernel.store(sums, Lane<Wide>{i}, 0);
  } else {
    kernel(Group<Wide>{}, i);
  }
}

template <class Wide, class... Kernels>
void launch_all(moe::kernel::List<Kernels...>) {
  (launch<Wide><<<1, 1>>>(Kernels{}), ...);
}

}  // namespace

void launch_every_kernel() {
  launch_all<float>(kernel::AllKernels<float>{});
  launch_all<float>(kernel::AllKernels<float, bfloat16>{});
  launch_all<double>(kernel::AllKernels<double>{});
}
