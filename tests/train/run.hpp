#pragma once
#include <functional>
#include <string>
#include <vector>

#include "tiny.hpp"

namespace moe::test {

/// A run of the Trainer, and what its callbacks saw.
template <class B>
struct Run {
  using Model = Transformer<tiny_config, B>;
  B backend = [] {
    if constexpr (std::is_constructible_v<B, int>)
      return B(1);  // thread
    else
      return B();
  }();
  Model model{backend, tiny_options()};
  Muon<Model> optimizer{model, {.skip_limit = 2}};
  TinyText text;
  std::vector<std::int64_t> steps;
  std::vector<double> losses;
  std::vector<int> queued;                              // reports asked for until a step was told
  std::function<void(std::int64_t)> on_step = nullptr;  // of the test
  std::function<void(std::int64_t)> on_evaluation = nullptr;
  std::function<bool()> should_stop = nullptr;
  Trainer<Model, Muon<Model>> trainer;

  explicit Run(const std::string& out, int pause_at = 0)
      : Run([&] {
          TrainerOptions o = tiny_run_options(out);
          o.pause_at = pause_at;
          return o;
        }()) {}
  explicit Run(const TrainerOptions& o)
      : trainer(model, optimizer, text.train, text.validation, o, callbacks()) {}

  TrainerCallbacks callbacks() {
    TrainerCallbacks all;
    all.on_step = [this](const StepRecord& row) {
      steps.push_back(row.step);
      losses.push_back(row.loss.total);
      if constexpr (requires { backend.calls; }) queued.push_back(backend.calls["later"]);
      if (on_step) on_step(row.step);
    };
    all.on_evaluation = [this](const EvaluationRecord& row) {
      if (on_evaluation) on_evaluation(row.step);
    };
    all.should_stop = [this] { return should_stop && should_stop(); };
    return all;
  }
  /// All parameters, downloaded.
  std::vector<float> parameters() {
    std::vector<float> all;
    for_each_leaf(
        [&](const auto& leaf) {
          std::vector<float> values(leaf.size);
          if (leaf.size > 0) backend.download(values.data(), leaf.data, leaf.size * sizeof(float));
          all.insert(all.end(), values.begin(), values.end());
        },
        model.params());
    return all;
  }
  /// Model, optimizer and trainer have made the same number of updates, whatever happened.
  bool agrees() const {
    const std::int64_t step = trainer.state().step;
    return optimizer.updates() + optimizer.skipped() == step &&
           model.passes() == std::uint64_t(2 * step);
  }
};

}  // namespace moe::test
