#pragma once
#include <moe/moe.hpp>

#include "program.hpp"

// train, eval and sample for one model.

namespace shakespeare {

using Backend = moe::Cpu<float>;

/// The text as tokens, split, with what a checkpoint must know about it.
struct Data {
  moe::Corpus corpus;
  moe::CharVocabulary vocabulary;
  std::vector<std::int32_t> train, validation;

  Data(const std::string& path, int model_vocab)
      : Data(path, model_vocab, [](const moe::Corpus& c) { return moe::CharVocabulary(c.text); }) {}
  Data(const std::string& path, int model_vocab, const moe::CharVocabulary& known)
      : Data(path, model_vocab, [&](const moe::Corpus&) { return known; }) {}

  std::string hash() const { return moe::hex(moe::xxh64(corpus.text.data(), corpus.text.size())); }

 private:
  template <class Choose>
  Data(const std::string& path, int model_vocab, const Choose& choose)
      : corpus(moe::find_tiny_shakespeare(path)), vocabulary(choose(corpus)) {
    moe::require_fits(vocabulary.size(), model_vocab);
    const moe::Split part = moe::split(corpus.text);
    train = vocabulary.encode(part.train);
    validation = vocabulary.encode(part.validation);
  }
};

template <moe::ModelConfig C>
class Session {
  using Model = moe::Transformer<C, Backend>;

 public:
  static int train(const TrainRequest& request) {
    const Settings& s = request.settings;
    const moe::AdamWOptions adamw{.lr = s.adamw_lr,
                                  .beta1 = s.beta1,
                                  .beta2 = s.beta2,
                                  .weight_decay = s.adamw_decay,
                                  .clip = s.clip};
    if (s.optimizer == "adamw") return train_with<moe::AdamW<Model>>(request, adamw);
    return train_with<moe::Muon<Model>>(request, moe::MuonOptions{.lr = s.muon_lr,
                                                                  .momentum = s.muon_momentum,
                                                                  .weight_decay = s.muon_decay,
                                                                  .adamw = adamw});
  }

  static int evaluate(const EvaluateRequest& request) {
    const moe::Json manifest = moe::read_manifest(request.checkpoint);
    const Data data(request.data, C.vocab, vocabulary_of(manifest));
    const int sequences = request.batch > 0 ? request.batch : 16;
    if (sequences > (1 << 20))
      throw moe::Error("moe: cannot evaluate with --batch " + std::to_string(sequences) +
                       ": it must be 1048576 or less; use a smaller one");
    Backend backend(request.threads);
    require_memory(sequences * C.context, backend.threads(), 0, "evaluate",
                   "use a smaller --batch");
    Model model(backend, {.max_tokens = sequences * C.context});
    moe::load(model, request.checkpoint);
    const moe::Loss loss =
        moe::evaluate(model, moe::DisjointWindows(data.validation, sequences, C.context));
    std::printf("%s\nvalidation %.4f nats, perplexity %.3f, accuracy %.4f (%d tokens)\n",
                data.corpus.source.c_str(), loss.cross_entropy, std::exp(loss.cross_entropy),
                loss.accuracy, loss.tokens);
    return 0;
  }

  static int sample(const SampleRequest& request) {
    const moe::Json manifest = moe::read_manifest(request.checkpoint);
    const moe::CharVocabulary vocabulary = vocabulary_of(manifest);
    const auto prompt = vocabulary.encode(request.prompt);
    if (prompt.empty()) throw moe::Error("moe: cannot sample from an empty prompt: give --prompt");
    if (prompt.size() > std::size_t(C.context)) {
      throw moe::Error("moe: cannot sample from a prompt of " + std::to_string(prompt.size()) +
                       " characters: the model reads at most " + std::to_string(C.context) +
                       "; shorten the prompt");
    }
    Backend backend(request.threads);
    require_memory(C.context, backend.threads(), moe::Generator<Model>::bytes(), "sample",
                   "use fewer --threads or a smaller model");
    Model model(backend, {.max_tokens = C.context});
    moe::load(model, request.checkpoint);
    std::fputs(request.prompt.c_str(), stdout);
    const auto show = [&](std::int32_t token) {
      std::fputs(vocabulary.decode({token}).c_str(), stdout);
      std::fflush(stdout);
    };
    moe::generate_tokens(model, prompt,
                         {.tokens = request.tokens,
                          .temperature = request.temperature,
                          .top_k = request.top_k,
                          .top_p = request.top_p,
                          .min_p = request.min_p,
                          .seed = request.seed,
                          .vocab = vocabulary.size()},
                         show);
    std::fputs("\n", stdout);
    return 0;
  }

 private:
  static moe::CharVocabulary vocabulary_of(const moe::Json& manifest) {
    return moe::CharVocabulary::from_json(
        manifest.at("run", "the manifest").at("vocabulary", "run of the manifest"), "vocabulary");
  }

  /// Of a model without an optimiser, before it is built.
  static void require_memory(int tokens, int threads, std::size_t more, const std::string& what,
                             const std::string& advice) {
    const auto m = Model::memory(tokens);
    moe::require_memory(
        m.params + m.grads + m.cache + m.scratch + more + moe::workspace_bytes<Model>(threads),
        what, advice);
  }

  static moe::Options model_options(const Settings& s) {
    return {.max_tokens = s.batch * C.context,
            .dropout = {.embedding = s.dropout,
                        .attention = s.dropout,
                        .attention_output = s.dropout,
                        .ffn_output = s.dropout},
            .balance_weight = s.balance_weight,
            .z_weight = s.z_weight,
            .seed = s.seed};
  }

  template <class Optimizer, class OptimizerOptions>
  static int train_with(const TrainRequest& request, const OptimizerOptions& optimizer_options) {
    const Settings& s = request.settings;
    Backend backend(request.threads);
    const auto plan = moe::make_plan<Model, Optimizer>(s.batch, C.context, backend.threads());
    const auto require_room = [&] {
      moe::require_memory(plan.peak_bytes(), "train with preset " + s.preset,
                          "use a smaller --batch or preset");
    };
    if (request.dry_run) {
      std::printf("preset       %s, optimiser %s, %d threads\n%s", s.preset.c_str(),
                  s.optimizer.c_str(), backend.threads(), moe::describe(plan).c_str());
      try {
        require_room();
      } catch (const moe::Error& error) {  // it may be for another machine; no room for a probe
        std::printf("warning      %s\n", error.what());
        return 0;
      }
      const double gflops = moe::probe_gflops(backend, plan.batch_tokens, C.dim, C.dim);
      std::fputs(moe::predict(plan, gflops, s.steps, plan.batch_tokens).c_str(), stdout);
      return 0;
    }
    const Data data(request.data, C.vocab);
    std::fprintf(stderr, "%s, %d characters in the vocabulary\n%s", data.corpus.source.c_str(),
                 data.vocabulary.size(), moe::describe(plan).c_str());
    require_room();

    Model model(backend, model_options(s));
    Optimizer optimizer(model, optimizer_options);
    moe::Progress progress(
        {.steps = s.steps,
         .flops_per_token = plan.flops.training(),
         .peak_gflops = request.progress ? moe::fma_peak_gflops(backend, 0.3) : 0,
         .enabled = request.progress});
    moe::Json about;
    about["settings"] = moe::to_json(s);
    about["vocabulary"] = data.vocabulary.to_json();
    about["text"] = data.hash();
    moe::Trainer trainer(
        model, optimizer, data.train, data.validation,
        {.steps = s.steps,
         .sequences = s.batch,
         .rates = {.warmup = s.warmup, .final = s.final_rate},
         .log_every = request.log_every,
         .eval_every = s.eval_every,
         .checkpoint_every = request.checkpoint_every,
         .patience = request.patience,
         .pause_at = request.pause_at,
         .seed = s.seed,
         .out = request.out,
         .overwrite = request.overwrite},
        {.on_step = [&](const moe::StepRow& row) { progress.step(row); },
         .on_evaluation = [&](const moe::EvaluationRow& row) { progress.evaluation(row); },
         .on_warning = [&](const std::string& text) { progress.message("warning: " + text); },
         .should_stop = interrupted},
        about);
    if (request.resume) resume(trainer, request, data);
    return report(trainer, trainer.run(), request, data);
  }

  template <class Trainer>
  static void resume(Trainer& trainer, const TrainRequest& request, const Data& data) {
    const moe::Json manifest = moe::read_manifest(trainer.folder("last"));
    if (const moe::Json* run = manifest.find("run"); run && run->find("text")) {
      if (run->find("text")->as_string("text") != data.hash()) {
        throw moe::Error("moe: cannot resume '" + request.out +
                         "': its text was another one than '" + data.corpus.source +
                         "'; give the same --data");
      }
    }
    for (const moe::Difference& d : trainer.resume()) {
      std::fprintf(stderr, "note: %s is now %s, it was %s: the run changes from here on\n",
                   d.field.c_str(), d.second.c_str(), d.first.c_str());
    }
    std::fprintf(stderr, "resumed after step %lld\n", (long long)trainer.cursor().step);
  }

  template <class Trainer>
  static int report(const Trainer& trainer, moe::StopReason reason, const TrainRequest& request,
                    const Data& data) {
    moe::Json summary;
    summary["preset"] = request.settings.preset;
    summary["data"] = data.corpus.source;
    const moe::Json known = trainer.summary();
    for (const auto& [name, value] : known.members("summary")) summary[name] = value;
    moe::write_file(trainer.folder("summary.json"), summary.dump(2) + "\n");
    const moe::Cursor& c = trainer.cursor();
    std::printf("step %lld: validation %.4f nats; best %.4f at step %lld; %.0f s of training\n",
                (long long)c.step, c.last_loss, c.best_loss, (long long)c.best_step, c.seconds);
    if (reason == moe::StopReason::paused || reason == moe::StopReason::stopped)
      std::printf("stopped early and saved; go on with: train --out %s --resume\n",
                  request.out.c_str());
    if (reason == moe::StopReason::no_gain)
      std::printf("stopped early: %d evaluations in a row brought no gain\n", request.patience);
    return reason == moe::StopReason::stopped ? 130 : 0;
  }
};

template <moe::ModelConfig C>
Preset make_preset(const Settings& defaults) {
  return {defaults, &Session<C>::train, &Session<C>::evaluate, &Session<C>::sample};
}

}  // namespace shakespeare
