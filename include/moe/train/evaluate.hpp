#pragma once
#include <moe/data/batch.hpp>
#include <moe/layer.hpp>
#include <moe/transformer.hpp>

namespace moe {

/// The model's loss on a whole split: every token but the first is a target once; each weighs the
/// same. Without dropout and noise. Balance, z and entropy are means over batches by their tokens.
/// Test: tests/train/trainer.cpp.
///
///     const moe::Loss loss = moe::evaluate(model, moe::DisjointWindows(validation, 16, 256));
template <class Model>
Loss evaluate(Model& model, const DisjointWindows& windows) {
  const auto in_use = detail::hold(model);
  Loss sum;
  for (int i = 0; i < windows.batches(); ++i) {
    const Loss loss = model.forward(windows.batch(i), /*training=*/false);
    const double n = loss.tokens;
    sum.cross_entropy += n * loss.cross_entropy;
    sum.balance += n * loss.balance;
    sum.z += n * loss.z;
    sum.entropy += n * loss.entropy;
    sum.total += n * loss.total;
    sum.accuracy += n * loss.accuracy;
    sum.tokens += loss.tokens;
  }
  // A loss that is not finite must not make the next update a skipped one: resumed runs have not
  // seen it.
  if (!model.loss_finite()) model.zero_grads();
  const double n = sum.tokens;
  return {sum.cross_entropy / n, sum.balance / n,  sum.z / n, sum.entropy / n,
          sum.total / n,         sum.accuracy / n, sum.tokens};
}

}  // namespace moe
