#pragma once
#include <moe/reflect.hpp>

namespace moe {

/// Learned numbers of a model. `active` is what one token passes through: everything but the
/// experts that it is not sent to (and but a separate token embedding, which is only looked up).
struct ParameterCount {
  std::size_t total = 0, active = 0, embedding = 0;
};

/// Counts without allocating:  parameter_count<Model>().total.   Test: tests/parameters.cpp.
template <class Model>
ParameterCount parameter_count() {
  typename Model::Params tree{};
  ParameterCount count;
  for_each_leaf(
      [&]<class T, Role R, int Rows, int Cols, int Count>(Param<T, R, Rows, Cols, Count>&) {
        constexpr std::size_t size = Param<T, R, Rows, Cols, Count>::size;
        if constexpr (R == Role::selection_bias) return;
        count.total += size;
        if constexpr (R == Role::embedding) {
          count.embedding += size;
          if constexpr (!Model::config.tied) return;
        }
        constexpr std::size_t used = std::size_t(Count > 1 ? Model::config.moe.top_k : Count);
        count.active += size / std::size_t(Count) * used;
      },
      tree);
  return count;
}

}  // namespace moe
