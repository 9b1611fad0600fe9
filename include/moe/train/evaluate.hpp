#pragma once
#include <concepts>
#include <functional>
#include <moe/data/windows.hpp>
#include <moe/layers/layer.hpp>
#include <moe/model/transformer.hpp>
#include <optional>

namespace moe::inline MOE_ISA {

/// A model whose loss on a batch can be asked for.
template <class M>
concept HasLoss = requires(M& model, const M& seen, const Batch& batch) {
  { model.forward(batch, false) } -> std::same_as<Loss>;
  { seen.loss_finite() } -> std::same_as<bool>;
  model.zero_grads();
};

/// The model's loss on a whole split, without dropout and noise. Every token but the first is a
/// target once, and all weigh the same. Balance, z and entropy are means over the batches, weighted
/// by their tokens.
/// `should_stop` is called before each batch; if it returns true, there is no result.
/// Test: tests/train/evaluate.cpp, tests/train/trainer.cpp.
///
///     if (const auto loss = moe::evaluate(model, windows, interrupted)) report(*loss);
template <HasLoss Model>
std::optional<Loss> evaluate(Model& model, const DisjointWindows& windows,
                             const std::function<bool()>& should_stop) {
  const auto in_use = detail::hold(model);
  Loss sum;
  bool stopped = false;
  for (int i = 0; i < windows.batches(); ++i) {
    stopped = should_stop && should_stop();
    if (stopped) break;
    const Loss loss = model.forward(windows.batch(i), /*training=*/false);
    sum.add(loss, loss.tokens);
  }
  // A non-finite loss in an evaluation must not cause the next update to be skipped: a resumed run,
  // which does not repeat the evaluation, would not skip it.
  if (!model.loss_finite()) model.zero_grads();
  if (stopped) return {};
  sum.divide(sum.tokens);
  return sum;
}

/// The same without a way to stop.
///
///     const moe::Loss loss = moe::evaluate(model, moe::DisjointWindows(validation, 16, 256));
template <HasLoss Model>
Loss evaluate(Model& model, const DisjointWindows& windows) {
  return *evaluate(model, windows, nullptr);
}

}  // namespace moe
