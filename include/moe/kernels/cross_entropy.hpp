#pragma once
#include <moe/core/lane.hpp>

namespace moe::inline MOE_ISA::kernel {

/// loss = lse - logits[target] with lse = logsumexp(logits). `correct` = 1 if the target's logit is
/// the maximum, else 0.
template <class W>
struct CrossEntropyForward {
  Table<const W> logits;
  const int* targets;
  Table<W> loss, lse, correct;  // (n, 1) each
  MOE_KERNEL int width() const { return logits.cols; }
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W max_logit = group.max(logits.cols, [&](auto i) { return logits[r][i]; });
    const W sum =
        group.sum(logits.cols, [&](auto i) { return kernel::exp(logits[r][i] - max_logit); });
    const W at_target = logits(r, targets[r]);
    const W log_sum = max_logit + kernel::log(sum);
    group.once([&] {
      lse(r) = log_sum;
      loss(r) = log_sum - at_target;
      correct(r) = max_logit == at_target ? W(1) : W(0);
    });
  }
};

/// dlogits = scale * (softmax(logits) - onehot(target)), in place.
template <class W>
struct CrossEntropyBackward {
  Table<W> logits;
  const int* targets;
  Table<const W> lse;
  W scale;
  MOE_KERNEL int width() const { return logits.cols; }
  MOE_KERNEL void operator()(const auto& group, int r) const {
    const W log_sum = lse(r);
    group.for_each(logits.cols, [&](auto i) {
      logits[r][i] = scale * kernel::exp(logits[r][i].value() - log_sum);
    });
    group.once([&] { logits(r, targets[r]) = logits(r, targets[r]) - scale; });
  }
};

}  // namespace moe::kernel
