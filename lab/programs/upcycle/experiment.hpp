#pragma once
#include <algorithm>
#include <memory>
#include <moe/moe.hpp>
#include <moe_lab/compiled.hpp>
#include <moe_lab/machine.hpp>
#include <moe_lab/plan.hpp>
#include <optional>

#include "phase.hpp"
#include "specialisation.hpp"
#include "tables.hpp"

// The experiment for one dense model: train it, grow it into a mixture, train on, and train the
// controls to compare with.

namespace growth {

template <ModelConfig C, class Backend>
class Experiment {
  using Dense = moe::Transformer<C, Backend>;

 public:
  /// Without data (null) run() only prints the plan.
  Experiment(const Request& request, const Data* data)
      : request_(request), data_(data), backend_(request.common.threads) {}

  int run() {
    switch (moe::parse_enum<Recipe>("--recipe", request_.settings.recipe)) {
      case Recipe::copy:
        return with<Recipe::copy>();
      case Recipe::noise:
        return with<Recipe::noise>();
      case Recipe::permute:
        return with<Recipe::permute>();
      case Recipe::drop:
        return with<Recipe::drop>();
      case Recipe::virtual_groups:
        return with<Recipe::virtual_groups>();
      case Recipe::shared:
        break;
    }
    return with<Recipe::shared>();
  }

 private:
  template <Recipe R>
  int with() {
    constexpr ModelConfig grown = mixture(C, R);
    using Moe = moe::Transformer<grown, Backend>;
    const Settings& s = request_.settings;
    std::printf("[init] device: CPU, %d threads, %s\n", backend_.threads(), s.precision.c_str());
    const Plan plan = make_plan<Dense, Moe>(s, C.context);
    std::printf("%s", describe(plan, s).c_str());
    if (!data_) return 0;
    lab::require_memory(plan.bytes + moe::workspace_bytes<Moe>(backend_.threads()),
                        "grow with preset " + s.preset, "use a smaller --batch or preset");
    lab::signals::finish_first();  // a signal must not leave an old experiment half removed
    const moe::FolderLock lock = Folder{request_, s.seed}.open(*data_);
    std::printf("%s\n%s\n%zu tokens train, %zu validate\n", data_->source.c_str(),
                data_->vocabulary.c_str(), data_->train.size(), data_->validation.size());
    std::vector<SeedResult> results;
    for (int i = 0; i < request_.seeds; ++i) {
      results.push_back(seed<R, Moe>(s.seed + std::uint64_t(i), plan));
      moe::write_file(request_.common.out + "/results.json",
                      to_json(results, plan, request_, data_->source, R).dump(2) + "\n");
    }
    std::printf("%s", summary(results, plan, request_.controls).c_str());
    return 0;
  }

  template <Recipe R, class Moe>
  SeedResult seed(std::uint64_t seed, const Plan& plan) {
    SeedResult result;
    result.seed = seed;
    const Folder folder{request_, seed};
    const auto fixed = fixed_batch();
    Dense dense(backend_, model_options(seed));
    std::optional<moe::AdamW<Dense>> dense_optimizer(std::in_place, dense,
                                                     optimizer(request_.settings.phase1_lr));

    heading("phase 1: dense", seed);
    result.dense = phase(dense, *dense_optimizer, "dense", seed, 1, plan.dense_steps, folder);
    moe::save(dense, folder.path("dense_model"));
    result.fixed_dense = fixed_loss(dense, fixed);
    samples(dense);

    heading("growing: " + request_.settings.recipe, seed);
    auto grown = std::make_unique<Moe>(backend_, model_options(seed + 1000));
    const moe::UpcycleOptions options = upcycle_options(seed, fixed);
    result.report = moe::upcycle<R>(dense, *grown, options);
    std::optional<moe::AdamW<Moe>> grown_optimizer(std::in_place, *grown,
                                                   optimizer(request_.settings.phase2_lr));
    if (request_.settings.optimizer_state == "copied")
      moe::upcycle_state<R>(dense, *dense_optimizer, *grown, *grown_optimizer, options);
    dense_optimizer.reset();
    moe::save(*grown, folder.path("moe_model_init"));
    result.fixed_grown = fixed_loss(*grown, fixed);
    std::printf("%s%s", describe(result.report).c_str(),
                verdict(promise_of(R), result.report, request_.settings.precision).c_str());
    require(promise_of(R), result.report, request_.settings.precision);

    heading("phase 2: mixture", seed);
    result.moe = phase(*grown, *grown_optimizer, "moe", seed, 2, plan.moe_steps, folder);
    moe::save(*grown, folder.path("moe_model_final"));
    result.fixed_final = fixed_loss(*grown, fixed);
    samples(*grown);
    result.words = specialisation(*grown, validation_windows(), data_->tokenizer, 64);
    if (lab::signals::interrupted()) throw Stopped{};
    std::printf("%s%s", describe(result.words).c_str(), boundary(result).c_str());
    grown_optimizer.reset();
    grown.reset();

    if (request_.controls) {
      heading("control: the dense model goes on, equal work", seed);
      moe::load(dense, folder.path("dense_model"));
      dense_optimizer.emplace(dense, optimizer(request_.settings.phase2_lr));
      result.control =
          phase(dense, *dense_optimizer, "dense_control", seed, 2, plan.control_steps, folder);
      dense_optimizer.reset();

      heading("control: the mixture from scratch, equal work in all", seed);
      Moe scratch(backend_, model_options(seed));
      moe::AdamW<Moe> scratch_optimizer(scratch, optimizer(request_.settings.phase1_lr));
      result.scratch = phase(scratch, scratch_optimizer, "moe_from_scratch", seed, 1,
                             plan.scratch_steps, folder);
    }
    return result;
  }

  template <class Model, class Optimizer>
  Run phase(Model& model, Optimizer& optimizer, const std::string& name, std::uint64_t seed,
            int data_order, int steps, const Folder& folder) {
    const Run run = train_phase(model, optimizer, request_, *data_, name,
                                seed * 16 + std::uint64_t(data_order), steps, folder);
    folder.write_history();
    if (run.stopped) throw Stopped{};
    return run;
  }

  moe::Options model_options(std::uint64_t seed) const {
    const Settings& s = request_.settings;
    return {.batch = s.batch,
            .dropout = {.attention = s.dropout, .expert = s.dropout},
            .balance_weight = s.balance_weight,
            .seed = seed};
  }
  moe::AdamWOptions optimizer(double lr) const {
    return {
        .lr = lr, .weight_decay = request_.settings.weight_decay, .clip = request_.settings.clip};
  }
  moe::UpcycleOptions upcycle_options(std::uint64_t seed, const moe::Batch& probe) const {
    const Settings& s = request_.settings;
    return {.router = moe::parse_enum<moe::RouterStart>("--router", s.router),
            .router_std = s.router_std,
            .noise = s.noise,
            .drop = s.drop,
            .seed = seed,
            .probe = probe};
  }

  /// The first windows of the validation split, the "frozen probe" on which dense and grown model
  /// are compared.
  moe::Batch fixed_batch() const {
    const std::size_t length = C.context;
    const std::size_t windows = std::min<std::size_t>(std::size_t(request_.settings.batch),
                                                      (data_->validation.size() - 1) / length);
    return {data_->validation.data(), data_->validation.data() + 1, int(windows), int(length)};
  }
  moe::DisjointWindows validation_windows() const {
    return {data_->validation, request_.settings.batch, C.context};
  }
  template <class Model>
  double fixed_loss(Model& model, const moe::Batch& batch) {
    return model.forward(batch, false).cross_entropy;
  }

  template <class Model>
  void samples(Model& model) {
    for (const char* prompt : {"Once upon a time there was", "Tom and Lily went to the"}) {
      const auto stop = [](std::string_view) {
        if (lab::signals::interrupted()) throw Stopped{};
      };
      const auto text = moe::generate(model, data_->tokenizer, prompt,
                                      {.tokens = request_.sample_tokens, .temperature = 0}, stop);
      std::printf("  greedy: \"%s\" -> \"%s\"\n", prompt, one_line(text).c_str());
      std::fflush(stdout);
    }
  }
  void heading(const std::string& text, std::uint64_t seed) const {
    std::printf("\n== seed %llu, %s\n", (unsigned long long)seed, text.c_str());
    std::fflush(stdout);
  }

  const Request& request_;
  const Data* data_;
  Backend backend_;
};

template <ModelConfig C, class Backend>
int run(const Request& request) {
  const lab::Common& common = request.common;
  if (common.dry_run) return Experiment<C, Backend>(request, nullptr).run();
  const Data data({.path = common.data,
                   .vocabulary = common.vocabulary,
                   .tokenizer = common.tokenizer,
                   .stories = common.stories,
                   .vocab = C.vocab,
                   .documents = false,
                   .cache = common.out});
  data.check_size(C.context, C.context, "");
  return Experiment<C, Backend>(request, &data).run();
}

template <ModelConfig C, class Backend>
Model make_model(const char*) {
  return {&run<C, Backend>, &lab::product_gflops<C, Backend>};
}

}  // namespace growth
