#pragma once
#include <moe/kernels/list.hpp>
#include <string>
#include <vector>

#include "../operands.hpp"

namespace moe::test {

/// `tables`: distinct tables of rows x cols that are touched; `accesses`: reads and writes of one;
/// `evaluations`: of exp, erf or random factors, for each element. Without tables: not measured.
struct Traffic {
  int tables = 0, accesses = 0;
  double evaluations = 0;
};
/// One way to use a kernel: with these options, or with those.
struct Variant {
  std::string name;
  Traffic traffic = {};
};

/// A kernel and how many rows or columns it is for.
template <class Kernel>
struct Launch {
  int n;
  Kernel kernel;

  template <class B>
  void operator()(B& be) const {
    if constexpr (kernel::is_column_kernel<Kernel>) {
      be.columns(n, kernel);
    } else {
      be.rows(n, kernel);
    }
  }
};
template <class Kernel>
Launch(int, Kernel) -> Launch<Kernel>;

/// What a kernel of the list needs in order to be tested and measured: its variants, and a launch
/// of variant v on new operands. A kernel without a case does not compile there.
template <class Kernel>
struct Case;

}  // namespace moe::test
