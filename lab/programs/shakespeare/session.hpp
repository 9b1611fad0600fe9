#pragma once
#include <cmath>
#include <moe/moe.hpp>
#include <moe_lab/machine.hpp>
#include <moe_lab/options.hpp>
#include <moe_lab/plan.hpp>
#include <moe_lab/watch.hpp>
#include <optional>

#include "program.hpp"
#include "samples.hpp"

// The commands train, eval and sample for one model.

namespace shakespeare {

using lab::Stopped;

template <moe::ModelConfig C, class Backend>
class Session {
  using Transformer = moe::Transformer<C, Backend>;
  static constexpr bool narrow = !std::is_same_v<moe::Value<Backend>, moe::Wide<Backend>>;
  /// What samples: in bf16 its weights are narrow, too, which gives the same text faster.
  using Writer = moe::Transformer<C, std::conditional_t<narrow, moe::Inference<Backend>, Backend>>;

 public:
  /// Prints what a run will need, without making a model.
  static int plan(const TrainRequest& request) {
    const Settings& s = request.settings;
    Backend backend(request.common.threads);
    const auto plan = plan_of(s, backend.threads());
    const std::string text = lab::describe_with_speed(
        plan, backend, C.dim, s.steps, plan.batch_tokens, [&] { require_room(plan, s); });
    std::printf("preset       %s, optimizer %s, %d threads\n%s", s.preset.c_str(),
                s.optimizer.c_str(), backend.threads(), text.c_str());
    return 0;
  }

  static int train(const TrainRequest& request, const Data& data) {
    return lab::with_optimizer<Transformer>(
        request.settings, [&]<class O>(std::type_identity<O>, const auto& options) {
          return train_with<O>(request, data, options);
        });
  }

  static int evaluate(const EvaluateRequest& request, const Data& data) {
    const int sequences = request.batch > 0 ? request.batch : 16;
    if (sequences > (1 << 20))
      throw moe::Error("cannot evaluate with --batch ", sequences,
                       ": it must be 1048576 or less; use a smaller one");
    Backend backend(request.threads);
    require_memory<Transformer>(sequences * C.context, backend.threads(), 0, "evaluate",
                                "use a smaller --batch");
    Transformer model(backend, {.batch = sequences});
    moe::load(model, request.checkpoint);
    const moe::Loss loss =
        moe::evaluate(model, moe::DisjointWindows(data.validation, sequences, C.context));
    std::printf("%s\n", data.corpus.source.c_str());
    if (!std::isfinite(loss.cross_entropy)) {
      throw moe::Error("the loss of '", request.checkpoint,
                       "' on the validation part is not finite: the model is of no use; try "
                       "another checkpoint of its run");
    }
    std::printf("validation %.4f nats, perplexity %.3f, accuracy %.4f (%d tokens)\n",
                loss.cross_entropy, std::exp(loss.cross_entropy), loss.accuracy, loss.tokens);
    return 0;
  }

  static int sample(const SampleRequest& request, const Vocabulary& vocabulary) {
    const auto prompt = vocabulary.encode(request.prompt, "--prompt");
    if (prompt.size() > std::size_t(C.context)) {
      throw moe::Error("cannot use a --prompt of ", prompt.size(), " ", vocabulary.unit(),
                       ": the model reads at most ", C.context, "; shorten the prompt");
    }
    typename Writer::Backend backend(request.threads);
    require_memory<Writer>(C.context, backend.threads(), moe::Generator<Writer>::bytes(), "sample",
                           "use fewer --threads or a smaller model");
    Writer model(backend, {.init_std = 0});
    moe::load(model, request.checkpoint);
    const auto print = [](const std::string& text) {
      if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
        throw moe::Error(
            "cannot write the sample: the output is closed or full; give one "
            "that is read to its end");
    };
    print(request.prompt);
    lab::signals::finish_first();
    moe::TextStream stream;
    int code = 0;
    try {
      moe::generate_tokens(model, prompt,
                           {.tokens = request.tokens,
                            .temperature = request.temperature,
                            .top_k = request.top_k,
                            .top_p = request.top_p,
                            .min_p = request.min_p,
                            .seed = request.seed,
                            .vocab = vocabulary.size()},
                           [&](std::int32_t token) {
                             print(stream.push(vocabulary.decode({token})));
                             if (lab::signals::interrupted()) throw Stopped{};
                           });
    } catch (const Stopped&) {
      code = lab::signals::exit_code;
    }
    print(stream.finish() + "\n");
    return code;
  }

 private:
  /// Errors: the model, without an optimizer, needs more memory than there is. Call it before the
  /// model is built.
  template <class M>
  static void require_memory(int tokens, int threads, std::size_t more, const std::string& what,
                             const std::string& advice) {
    lab::require_memory(moe::model_memory<M>(tokens, threads).total() + more, what, advice);
  }

  static moe::Options model_options(const Settings& s) {
    return {.batch = s.batch,
            .dropout = {.embedding = s.dropout,
                        .attention = s.dropout,
                        .attention_output = s.dropout,
                        .ffn_output = s.dropout},
            .balance_weight = s.balance_weight,
            .z_weight = s.z_weight,
            .entropy_weight = s.entropy_weight,
            .seed = s.seed};
  }

  static lab::Plan plan_of(const Settings& s, int threads) {
    return lab::with_optimizer<Transformer>(s, [&]<class O>(std::type_identity<O>, const auto&) {
      return lab::make_plan<Transformer, O>(s.batch, C.context, threads);
    });
  }
  static void require_room(const lab::Plan& plan, const Settings& s) {
    lab::require_memory(plan.memory.total(), "train with preset " + s.preset,
                        "use a smaller --batch or preset");
  }

  static moe::TrainerOptions trainer_options(const TrainRequest& request) {
    moe::TrainerOptions o = lab::trainer_options(request.settings, request.common.out);
    o.log_every = request.log_every;
    o.checkpoint_every = request.checkpoint_every;
    o.patience = request.patience;
    o.pause_at = request.pause_at;
    o.overwrite = request.common.overwrite;
    return o;
  }

  template <class Optimizer, class OptimizerOptions>
  static int train_with(const TrainRequest& request, const Data& data,
                        const OptimizerOptions& optimizer_options) {
    const Settings& s = request.settings;
    Backend backend(request.common.threads);
    const auto plan = plan_of(s, backend.threads());
    std::fprintf(stderr, "%s, %d %s in the vocabulary\n%s", data.corpus.source.c_str(),
                 data.vocabulary.size(), data.vocabulary.unit().c_str(),
                 lab::describe(plan).c_str());
    require_room(plan, s);

    Transformer model(backend, model_options(s));
    Optimizer optimizer(model, optimizer_options);
    lab::Watch watch(
        {.steps = s.steps,
         .flops_per_token = plan.flops.training(),
         .peak_gflops = request.common.progress ? moe::fma_peak_gflops(backend, 0.3) : 0,
         .enabled = request.common.progress});
    for (const char* name : {"settings.json", "study.json"})
      if (moe::detail::has_members({"tokens"})(request.common.out + "/" + name))
        throw moe::Error("cannot train in '", request.common.out, "': its '", name,
                         "' is of an experiment of another program; choose another --out");
    moe::Json about;
    about["settings"] = moe::to_json(s);
    about["vocabulary"] = data.vocabulary.to_json();
    about["text"] = data.hash;
    about["data"] = data.corpus.source;
    std::optional<Samples> samples;
    const auto after_step = [&](const moe::StepRecord& row) {
      if (!samples->is_due(row.step)) return;
      const std::string text = samples->take(model, row.step);
      if (request.common.progress) watch.progress.message(text);
    };
    moe::Trainer trainer(model, optimizer, data.train, data.validation, trainer_options(request),
                         watch.callbacks(after_step), about);
    if (request.common.resume) {
      resume(trainer);
    } else {
      moe::detail::require_ours(trainer.folder("summary.json"), is_summary());
      moe::detail::require_ours(trainer.folder("samples.jsonl"), moe::detail::has_samples);
    }
    samples.emplace(request, data.vocabulary, request.common.resume ? trainer.state().step : -1);
    lab::signals::finish_first();
    moe::StopReason reason;
    try {
      reason = trainer.run();
    } catch (const moe::Diverged& error) {
      write_summary(trainer, request, data, error.what());
      throw;
    }
    write_summary(trainer, request, data);
    return report(trainer, reason, request);
  }

  template <class Trainer>
  static void resume(Trainer& trainer) {
    for (const moe::Difference& d : trainer.resume()) {
      std::fprintf(stderr, "note: %s is now %s, it was %s: the run changes from here on\n",
                   d.field.c_str(), d.second.c_str(), d.first.c_str());
    }
    std::fprintf(stderr, "resumed after step %lld\n", (long long)trainer.state().step);
  }

  template <class Trainer>
  static void write_summary(const Trainer& trainer, const TrainRequest& request, const Data& data,
                            const std::string& failure = {}) {
    moe::Json summary;
    summary["preset"] = request.settings.preset;
    summary["data"] = data.corpus.source;
    const moe::Json known = trainer.summary();
    for (const auto& [name, value] : known.members("summary")) summary[name] = value;
    if (!failure.empty()) summary["failure"] = failure;
    try {
      const std::string path = trainer.folder("summary.json");
      moe::detail::require_ours(path, is_summary());
      moe::write_file(path, summary.dump(2) + "\n");
    } catch (const moe::Error& error) {
      std::fprintf(stderr, "warning: %s\n", error.what());
    }
  }
  static moe::detail::LooksOurs is_summary() { return moe::detail::has_members({"params_total"}); }

  template <class Trainer>
  static int report(const Trainer& trainer, moe::StopReason reason, const TrainRequest& request) {
    const moe::TrainState& c = trainer.state();
    std::printf("step %lld: %s; %.0f s of training\n", (long long)c.step, moe::describe(c).c_str(),
                c.seconds);
    if (reason == moe::StopReason::paused || reason == moe::StopReason::stopped)
      std::printf("stopped early and saved; go on with: shakespeare train --out '%s' --resume\n",
                  request.common.out.c_str());
    if (reason == moe::StopReason::early_stopped)
      std::printf("stopped early: %d evaluations in a row brought no gain\n", request.patience);
    const auto why = moe::failure(c);
    if (why) std::fprintf(stderr, "%s\n", why->what());
    if (reason == moe::StopReason::stopped) return lab::signals::exit_code;
    return why ? 1 : 0;
  }
};

template <moe::ModelConfig C, class Backend>
Model make_model(const char*) {
  using S = Session<C, Backend>;
  return {C, &S::plan, &S::train, &S::evaluate, &S::sample, &lab::product_gflops<C, Backend>};
}

}  // namespace shakespeare
