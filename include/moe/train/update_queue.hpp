#pragma once
#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/core/batch.hpp>
#include <moe/optim/optimizer.hpp>
#include <moe/train/evaluate.hpp>
#include <moe/train/records.hpp>
#include <vector>

namespace moe::inline MOE_ISA {

/// What a Trainer asks of a model: what an optimizer, a checkpoint and an evaluation ask, and both
/// passes.
template <class M>
concept TrainerModel = Trainable<M> && Saveable<M> && HasLoss<M> &&
    requires(M& model, typename M::Pending& pending, const Batch& batch) {
  model.queue(pending, batch, 1.0);
  model.set_passes(model.passes());
  model.zero_grads();
};

/// What a Trainer asks of an optimizer.
template <class O>
concept TrainerOptimizer = Resumable<O> &&
    requires(O& optimizer, PendingStep<typename O::Backend>& pending) {
  optimizer.queue(pending, 1.0);
  { optimizer.collect(pending) } -> std::same_as<StepReport>;
};

namespace detail {

/// Updates that are being computed, at most two: while a device computes one, the host prepares the
/// next. Its destructor waits until nothing is on its way to the host.
template <TrainerModel Model, TrainerOptimizer Optimizer>
class UpdateQueue {
 public:
  UpdateQueue(Model& model, Optimizer& optimizer, int accumulation)
      : model_(&model), optimizer_(&optimizer), none_is_left_(model.backend()) {
    for (Update& update : updates_) update.passes.resize(std::size_t(accumulation));
  }
  UpdateQueue(const UpdateQueue&) = delete;

  int size() const { return int(queued_ - collected_); }
  bool is_full() const { return size() == int(updates_.size()); }
  /// True if collect() would not wait.
  bool is_ready() const {
    return model_->backend().ready(updates_[std::size_t(collected_ % 2)].step.ticket);
  }

  /// Queues an update by batch(0), batch(1), ... with equal shares. If this throws, the model is as
  /// it was, with gradients of 0.
  template <class Batches>
  void queue(const Batches& batch, double lr_factor) {
    Update& update = updates_[std::size_t(queued_ % 2)];
    const int passes = int(update.passes.size());
    const std::uint64_t passes_before = model_->passes();
    try {
      for (int i = 0; i < passes; ++i)
        model_->queue(update.passes[std::size_t(i)], batch(i), 1.0 / passes);
      optimizer_->queue(update.step, lr_factor);
    } catch (...) {
      model_->set_passes(passes_before);
      model_->zero_grads();
      throw;
    }
    ++queued_;
  }
  /// Waits for the oldest, and writes its report and the means over its batches to `row`. It leaves
  /// the queue, also if this throws.
  void collect(StepRecord& row) {
    Update& update = updates_[std::size_t(collected_++ % 2)];
    row.loss = {};
    for (auto& layer : row.load) std::fill(layer.begin(), layer.end(), 0.0);
    std::fill(row.router_entropy.begin(), row.router_entropy.end(), 0.0);
    for (auto& pass : update.passes)
      add(row, model_->collect(pass), 1.0 / double(update.passes.size()));
    row.report = optimizer_->collect(update.step);
  }

 private:
  static void add(StepRecord& row, const auto& report, double share) {
    row.loss.add(report.loss, share);
    for (std::size_t layer = 0; layer < row.load.size(); ++layer) {
      const auto& routing = report.routing[layer];
      for (std::size_t e = 0; e < routing.load.size(); ++e)
        row.load[layer][e] += share * routing.load[e];
      row.router_entropy[layer] += share * routing.entropy;
    }
  }

  struct Update {
    std::vector<typename Model::Pending> passes;
    PendingStep<typename Optimizer::Backend> step;
  };

  Model* model_;
  Optimizer* optimizer_;
  std::array<Update, 2> updates_;
  Synchronized<typename Model::Backend> none_is_left_;  // ends before the updates
  std::int64_t queued_ = 0, collected_ = 0;
};

}  // namespace detail
}  // namespace moe
