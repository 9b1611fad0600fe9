#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// Combine: y[t] = sum over choices j of gate(t, j) * x[slot_of(t, j)], in the order of j.
/// If the gates sum to 1 (`sum_to_one`), the same sum is computed as x_0 + sum over j > 0 of
/// gate(t, j) * (x_j - x_0), with x_j = x[slot_of(t, j)]. Experts with identical outputs then give
/// exactly that output, whatever the gates are.
template <class W, class T = W>
struct Combine {
  Table<const T> x;          // (n * top_k, dim), by slot
  Table<const W> gates;      // (n, top_k)
  Table<const int> slot_of;  // (n, top_k)
  Table<T> y;                // (n, dim)
  bool sum_to_one = false;
  MOE_KERNEL void operator()(const auto& group, int t) const {
    if (sum_to_one) {
      group.for_each(y.cols, [&](auto i) {
        const auto first = x[slot_of(t, 0)][i];
        auto sum = first;
        for (int j = 1; j < gates.cols; ++j)
          sum = sum + gates(t, j) * (x[slot_of(t, j)][i] - first);
        y[t][i] = sum;
      });
    } else {
      group.for_each(y.cols, [&](auto i) {
        auto sum = gates(t, 0) * x[slot_of(t, 0)][i];
        for (int j = 1; j < gates.cols; ++j) sum = sum + gates(t, j) * x[slot_of(t, j)][i];
        y[t][i] = sum;
      });
    }
  }
};

/// Backward of the products that read the rows of x by slot: dx[t] += sum over choices j of
/// dslots[slot_of(t, j)]. With `add` = false, dx is overwritten.
template <class T>
struct DispatchBackward {
  Table<const T> dslots;     // (n * top_k, dim), by slot
  Table<const int> slot_of;  // (n, top_k)
  Table<T> dx;               // (n, dim)
  bool add = true;
  MOE_KERNEL void operator()(const auto& group, int t) const {
    const auto sum_at = [&](auto i) {
      auto sum = dslots[slot_of(t, 0)][i];
      for (int j = 1; j < slot_of.cols; ++j) sum = sum + dslots[slot_of(t, j)][i];
      return sum;
    };
    if (add) {
      group.for_each(dx.cols, [&](auto i) { dx[t][i] += sum_at(i); });
    } else {
      group.for_each(dx.cols, [&](auto i) { dx[t][i] = sum_at(i); });
    }
  }
};

/// Copies gates and (token, choice) pair numbers into slot order, where the row kernels on slots
/// read them.
template <class W>
struct GatesToSlots {
  Table<const W> gates;
  Table<const int> slot_of;
  Table<W> gate_of_slot;    // (n * top_k, 1)
  Table<int> pair_of_slot;  // (n * top_k, 1)
  MOE_KERNEL void operator()(const auto& group, int t) const {
    group.for_each_index(gates.cols, [&](int j) {
      gate_of_slot(slot_of(t, j)) = gates(t, j);
      pair_of_slot(slot_of(t, j)) = t * gates.cols + j;
    });
  }
};

/// dgates(t, j) = dgate_of_slot(slot_of(t, j)) + <dy[t], bias[expert(t, j)]>.  `bias.data` may be
/// null.
template <class W, class T = W>
struct GateGrad {
  Table<const W> dgate_of_slot;  // (n * top_k, 1)
  Table<const T> dy;             // (n, dim)
  Table<const W> bias;           // (experts, dim)
  Table<const int> slot_of, expert;
  Table<W> dgates;
  MOE_KERNEL void operator()(const auto& group, int t) const {
    for (int j = 0; j < dgates.cols; ++j) {
      W sum = dgate_of_slot(slot_of(t, j));
      if (bias.data) {
        const Row<const W> b = bias[expert(t, j)];
        sum = sum + group.sum(dy.cols, [&](auto i) { return dy[t][i] * b[i]; });
      }
      group.once([&] { dgates(t, j) = sum; });
    }
  }
};

}  // namespace moe::kernel
