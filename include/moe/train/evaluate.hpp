#pragma once
#include <concepts>
#include <functional>
#include <moe/data/windows.hpp>
#include <moe/layers/layer.hpp>
#include <moe/model/transformer.hpp>
#include <optional>
#include <vector>

namespace moe::inline MOE_ISA {

/// A model whose loss on a batch can be asked for.
template <class M>
concept HasLoss = requires(M& model, typename M::Pending& pending, const Batch& batch) {
  model.queue_forward(pending, batch, false);
  { model.collect(pending).loss } -> std::convertible_to<Loss>;
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
  std::vector<typename Model::Pending> pending(8);  // so many batches may be queued at a time
  const detail::Synchronized none_is_left(model.backend());  // also if something throws
  Loss sum;
  const auto add = [&](typename Model::Pending& pass) {
    const Loss loss = model.collect(pass).loss;
    sum.add(loss, loss.tokens);
  };
  const int batches = windows.batches(), max_queued = int(pending.size());
  int queued = 0, collected = 0;
  const auto slot = [&](int i) -> auto& {
    return pending[std::size_t(i % max_queued)];
  };
  while (queued < batches && !(should_stop && should_stop())) {
    if (queued - collected == max_queued) add(slot(collected++));
    model.queue_forward(slot(queued), windows.batch(queued), /*training=*/false);
    ++queued;
  }
  while (collected < queued) add(slot(collected++));
  if (queued < batches) return {};
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
