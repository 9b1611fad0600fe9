// The row and column kernels of a step, as a share of the bandwidth of copying as many bytes as
// they touch, so that the share means the same inside and outside of a cache. An operand counts
// once if it is read and once if it is written. The counter `evaluations` is 1e9 exp, erf or random
// factors a second.
// Names: kernels/KERNEL/rows x columns. The kernels are those of moe/kernels/list.hpp whose case
// (tests/kernel_cases.hpp) says what they touch.
#include "../tests/kernel_cases.hpp"
#include "configs.hpp"
#include "measure.hpp"

namespace {

namespace kernel = moe::kernel;
using moe::test::Traffic;
using T = float;

template <class Kernel>
void add(const std::string& name, int variant, const Traffic& traffic, int rows, int cols,
         int head_dim) {
  bench::add("kernels/" + name + "/" + std::to_string(rows) + "x" + std::to_string(cols),
             [=](benchmark::State& state, int threads) {
               auto& be = bench::backend(threads);
               moe::test::Operands<bench::Cpu> x(be, rows, cols, head_dim);
               const auto launch = moe::test::Case<Kernel>::make(x, variant);
               const double elements = double(rows) * cols;
               const double bytes = elements * traffic.accesses * sizeof(T);
               const double rate = bench::measure(
                   state, bytes, bench::copy_speed(threads, elements * traffic.tables * sizeof(T)),
                   [&] { launch(be); });
               if (traffic.evaluations > 0)
                 state.counters["evaluations"] = traffic.evaluations * rate * elements / bytes;
             });
}

/// Registers all kernels of a list, on rows x cols. `part` is appended to each name.
template <class Kernels>
void add_all(int rows, int cols, int head_dim = 2, const std::string& part = "") {
  kernel::for_each(Kernels{}, [&]<class Kernel>() {
    int v = 0;
    for (const auto& [name, traffic] : moe::test::Case<Kernel>::variants()) {
      if (traffic.tables > 0) add<Kernel>(name + part, v, traffic, rows, cols, head_dim);
      ++v;
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int tokens = 4096;
  add_all<kernel::NormKernels<T>>(tokens, bench::shakespeare.model.dim);
  add_all<kernel::NormKernels<T>>(tokens, bench::tinystories.model.dim);
  add_all<kernel::ActivationKernels<T>>(2 * tokens, 768);
  add_all<kernel::LossKernels<T>>(tokens, bench::shakespeare.model.vocab);
  add_all<kernel::LossKernels<T>>(64, bench::tinystories.model.vocab);
  add_all<kernel::RopeKernels<T>>(tokens, 384, 48, "/head_dim:48");
  add_all<kernel::RopeKernels<T>>(tokens, 832, 104, "/head_dim:104");
  add_all<kernel::OptimizerKernels<T>>(1024, 384);
  add_all<kernel::OptimizerKernels<T>>(65536, 1024);
  using RowsOfTokens =
      kernel::Join<kernel::ResidualKernels<T>, kernel::BiasKernels<T>, kernel::EmbeddingKernels<T>>;
  add_all<RowsOfTokens>(tokens, 384);
  return bench::run(argc, argv);
}
