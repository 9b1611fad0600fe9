#pragma once
#include <moe/moe.hpp>
#include <moe_lab/limits.hpp>
#include <moe_lab/machine.hpp>
#include <moe_lab/models.hpp>
#include <moe_lab/options.hpp>
#include <moe_lab/plan.hpp>
#include <moe_lab/results.hpp>
#include <moe_lab/watch.hpp>

// The training run of one compiled model. Included only by the file that compiles the model.

namespace lab {

inline moe::Options model_options(const Settings& s) {
  return {.max_tokens = int(batch_tokens(s)),
          .norm_eps = 1.1920928955078125e-07,  // the default of PyTorch's nn.RMSNorm in fp32
          .dropout = {.embedding = s.dropout,
                      .attention = s.dropout,
                      .attention_output = s.dropout,
                      .expert = s.dropout,
                      .ffn_output = s.dropout,
                      .final = s.dropout},
          .router_noise = s.router_noise,
          .balance_weight = s.balance_weight,
          .z_weight = s.z_weight,
          .init_std = s.init_std,
          .seed = s.seed};
}

inline moe::TrainerOptions trainer_options(const Job& job) {
  moe::TrainerOptions o = trainer_options(job.settings, job.folder);
  o.overwrite = job.resume;  // replaces a run that was stopped before its first save
  o.tensorboard = true;
  return o;
}

/// Lines about speed and loss after 10, 25, 50, 75 and 100 % of the steps.
class Milestones {
 public:
  explicit Milestones(std::int64_t steps) : steps_(steps) {}

  /// The line for this step, or "" if it is no milestone.
  std::string at(const moe::StepRecord& row) const {
    for (const int percent : {100, 75, 50, 25, 10}) {
      if (row.step != (steps_ * percent + 99) / 100) continue;
      return format(
          "milestone %d %%: %lld updates, %.2f M tokens, %.0f tokens/s, loss %.4f, %s of training",
          percent, (long long)row.step, double(row.tokens) * 1e-6, row.tokens_per_second,
          row.loss.cross_entropy, Progress::clock(row.seconds).c_str());
    }
    return "";
  }

 private:
  std::int64_t steps_;
};

template <ModelConfig C, class Backend>
Model make_model(const char* name);

/// Errors: the run needs more memory than there is; nothing has been allocated.
template <class Transformer, class Optimizer>
void require_room_with(const Settings& s, int threads) {
  const auto memory = moe::training_memory<Transformer, Optimizer>(int(batch_tokens(s)), threads);
  require_memory(memory.total(), "train model " + s.model,
                 "use a smaller --batch with more --accumulation, or a smaller preset");
}

template <class Transformer, class Optimizer, class OptimizerOptions>
Outcome train_with(const Job& job, const char* name, const OptimizerOptions& optimizer_options) {
  const Settings& s = job.settings;
  const double flops = moe::token_flops(Transformer::config, s.length).training();
  using Backend = typename Transformer::Backend;
  check_lengths(s, Transformer::config.context);
  Backend backend(job.threads);
  Transformer model(backend, model_options(s));
  Optimizer optimizer(model, optimizer_options);
  Watch watch({.steps = s.steps,
               .flops_per_token = flops,
               .peak_gflops = job.progress ? moe::fma_peak_gflops(backend, 0.1) : 0,
               .enabled = job.progress});
  const Milestones milestones(s.steps);
  auto validation = job.data.validation;
  if (s.eval_tokens > 0 && std::size_t(s.eval_tokens) + 1 < validation.size())
    validation = validation.first(std::size_t(s.eval_tokens) + 1);
  moe::Json about;
  about["settings"] = moe::to_json(s);
  const auto after_step = [&](const moe::StepRecord& row) {
    const std::string line = milestones.at(row);
    if (!line.empty() && job.progress) watch.progress.message(line);
  };
  moe::Trainer trainer(model, optimizer, job.data.train, validation, trainer_options(job),
                       watch.callbacks(after_step), about);
  if (open_run(job, moe::to_json(Transformer::config))) {
    trainer.resume();
  } else if (job.resume && moe::holds_run(job.folder)) {
    watch.progress.message("note: the run in '" + job.folder +
                           "' was stopped before its first checkpoint and begins anew");
  }
  Outcome out;
  try {
    if (trainer.run() == moe::StopReason::stopped) throw Stopped{};
  } catch (const moe::Diverged& error) {
    watch.progress.message(error.what());
    out.diverged = true;
  }
  const moe::TrainState& c = trainer.state();
  const auto memory =
      moe::training_memory<Transformer, Optimizer>(model_options(s).max_tokens, backend.threads());
  out.loss = out.diverged ? INFINITY : c.last_loss;
  out.best = c.best_loss;
  out.train_loss = c.last_train_loss;
  out.skipped = optimizer.skipped();
  out.seconds = c.seconds;
  out.flops = flops * double(c.tokens);
  out.memory_mb = double(memory.total() - memory.workspaces) * 1e-6;
  out.updates = c.step;
  out.tokens = c.tokens;
  write_results(job, make_model<Transformer::config, Backend>(name), backend.threads(), out);
  return out;
}

template <ModelConfig C, class Backend>
void require_room(const Settings& s, int threads) {
  using Transformer = moe::Transformer<C, Backend>;
  const int n = Backend(threads).threads();
  with_optimizer<Transformer>(s, [&]<class O>(std::type_identity<O>, const auto&) {
    require_room_with<Transformer, O>(s, n);
  });
}

template <ModelConfig C, class Backend>
Outcome train(const Job& job, const char* name) {
  using Transformer = moe::Transformer<C, Backend>;
  Outcome known;
  if (finished(job, moe::to_json(C), known)) return known;
  const Settings& s = job.settings;
  require_room<C, Backend>(s, job.threads);  // again: free memory changes during a study
  return with_optimizer<Transformer>(s, [&]<class O>(std::type_identity<O>, const auto& options) {
    return train_with<Transformer, O>(job, name, options);
  });
}

template <ModelConfig C, class Backend>
std::string plan(const Settings& s, int threads) {
  using Transformer = moe::Transformer<C, Backend>;
  batch_tokens(s);
  check_lengths(s, C.context);
  Backend backend(threads);
  const int n = backend.threads();
  const Plan plan =
      with_optimizer<Transformer>(s, [&]<class O>(std::type_identity<O>, const auto&) {
        return make_plan<Transformer, O>(s.batch, s.length, n);
      });
  return describe_with_speed(plan, backend, C.dim, s.steps,
                             std::int64_t(plan.batch_tokens) * s.accumulation,
                             [&] { require_room<C, Backend>(s, threads); });
}

template <ModelConfig C, class Backend>
Model make_model(const char* name) {
  constexpr bool wide = std::is_same_v<moe::Value<Backend>, float>;
  return {name,
          wide ? "float" : "bf16",
          C,
          moe::parameter_count<moe::Transformer<C, Backend>>(),
          &train<C, Backend>,
          &plan<C, Backend>,
          &product_gflops<C, Backend>,
          &require_room<C, Backend>};
}

}  // namespace lab
