#pragma once
#include <moe/kernels/list.hpp>
#include <string>
#include <vector>

#include "../operands.hpp"

namespace moe::test {

/// What a kernel touches. `tables`: how many different tables of rows x cols; `accesses`: how many
/// reads and writes of a whole table; `evaluations`: exp, erf or random factors for each element. A
/// kernel with 0 tables is not measured.
struct Traffic {
  int tables = 0, accesses = 0;
  double evaluations = 0;
};
/// One way to use a kernel, such as with or without an option.
struct Variant {
  std::string name;
  Traffic traffic = {};
};

/// A kernel and the number of rows or columns that it is launched for; columns have segments.
template <class Kernel>
struct Launch {
  int n;
  Kernel kernel;
  Segments segments = {};

  template <class B>
  void operator()(B& be) const {
    if constexpr (kernel::is_column_kernel<Kernel>) {
      be.columns(n, segments, kernel);
    } else {
      be.rows(n, kernel);
    }
  }
};
template <class Kernel>
Launch(int, Kernel, Segments = {}) -> Launch<Kernel>;

/// What a kernel of the list needs in order to be tested and measured: its variants, and a launch
/// of variant v on new operands. A kernel without a case does not compile there.
template <class Kernel>
struct Case;

}  // namespace moe::test
