#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/data/shuffled_windows.hpp>
#include <moe/data/text.hpp>
#include <moe/data/windows.hpp>
#include <moe/model/flops.hpp>
#include <moe/model/parameters.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/train/evaluate.hpp>
#include <moe/train/run_record.hpp>
#include <moe/train/trainer_callbacks.hpp>
#include <moe/train/trainer_options.hpp>
#include <span>
#include <variant>

namespace moe {

/// What a Trainer asks of a model: what an optimizer and a checkpoint ask, and both passes.
template <class M>
concept TrainerModel = Trainable<M> && Saveable<M> && HasLoss<M> &&
    requires(M& model, const Batch& batch) {
  { model.forward_backward(batch, 1.0) } -> std::same_as<Loss>;
};

/// What a Trainer asks of an optimizer.
template <class O>
concept TrainerOptimizer = Resumable<O> && requires(O& optimizer) {
  { optimizer.step(1.0) } -> std::same_as<StepReport>;
};

/// The loop: batch, forward, backward, update, and at intervals evaluation, metrics, checkpoints
/// `best` (by cross entropy) and `last` in options.out. Batches are a function of (seed, step), so
/// that resume() and run() give the bits of a run that never stopped.
/// Errors: moe::Error for sizes below 1, texts that are too short, a folder that already holds a
/// run, and what model, optimiser and files throw.  Test: tests/train/trainer.cpp, tests/programs.
///
///     moe::Trainer trainer(model, optimizer, train, validation, {.steps = 2000, .out = "runs/a"});
///     const moe::StopReason reason = trainer.run();
template <TrainerModel Model, TrainerOptimizer Optimizer>
class Trainer {
  static constexpr ModelConfig config = Model::config;

 public:
  /// `about` goes into the checkpoints' manifests (vocabulary, settings). The token sequences must
  /// outlive the trainer.
  Trainer(Model& model, Optimizer& optimizer, std::span<const std::int32_t> train,
          std::span<const std::int32_t> validation, TrainerOptions options,
          TrainerCallbacks callbacks = {}, Json about = {})
      : model_(model),
        optimizer_(optimizer),
        options_(checked_options(std::move(options), model)),
        callbacks_(std::move(callbacks)),
        record_(options_, callbacks_.on_warning),
        about_(std::move(about)),
        windows_(windows_of(train, validation)),
        validation_(validation,
                    std::max(1, options_.sequences * options_.length / options_.eval_length),
                    options_.eval_length),
        sentinel_(config.moe.experts, config.moe.top_k) {
    row_.load.assign(std::size_t(config.moe_layers()),
                     std::vector<double>(std::size_t(config.moe.experts)));
    row_.health.resize(row_.load.size());
    row_.router_entropy.resize(row_.load.size());
    about_["trainer"] = to_json(options_);
  }

  const TrainerOptions& options() const { return options_; }
  const Cursor& cursor() const { return cursor_; }
  std::string folder(const std::string& name) const { return options_.out + "/" + name; }

  /// Goes back to where out/last was saved. Gives the settings of model and trainer that differ
  /// from the saved ones: with any of them the run is no longer the one that was stopped.
  std::vector<Difference> resume() {
    MOE_EXPECTS(!options_.out.empty(), "Trainer::resume needs TrainerOptions.out");
    const std::string from = record_.load_newest([&](const std::string& checkpoint) {
      cursor_ = load_checkpoint(model_, optimizer_, checkpoint);
    });
    const Json manifest = read_manifest(from);
    auto found = differences(manifest.at("options"), to_json(model_.options()));
    if (const Json* run = manifest.find("run"); run && run->find("trainer"))
      for (auto& d : differences(*run->find("trainer"), about_["trainer"])) found.push_back(d);
    std::erase_if(found, [](const Difference& d) {
      return d.field == "out" || d.field == "pause_at" || d.field == "overwrite";
    });
    return found;
  }

  /// Trains until the steps are done or something stops it.
  StopReason run() {
    const auto in_use = detail::hold(model_);  // a second thread is refused, not this one
    record_.open(cursor_.step);
    session_seconds_ = 0, session_tokens_ = 0;
    if (cursor_.step > options_.steps)
      record_.warn("the run has " + std::to_string(cursor_.step) + " steps already and " +
                   std::to_string(options_.steps) + " were asked for: nothing is left to train");
    if (options_.pause_at > options_.steps)
      record_.warn("pause_at " + std::to_string(options_.pause_at) + " is after the last step, " +
                   std::to_string(options_.steps) + ": the run will not pause");
    if (options_.pause_at > 0 && options_.pause_at < cursor_.step)
      record_.warn("pause_at " + std::to_string(options_.pause_at) + " is before step " +
                   std::to_string(cursor_.step) +
                   ", from which the run goes on: it will not pause");
    auto reason = is_out_of_patience() ? StopReason::no_gain : StopReason::finished;
    // A session that was stopped in an evaluation is followed by one that begins with it.
    const bool begun = cursor_.step > 0 && cursor_.last_step != cursor_.step;
    if (begun && is_due(options_.eval_every)) reason = after_step();
    while (reason == StopReason::finished && !is_last()) {
      step();
      reason = after_step();
    }
    const std::string warning = no_better_than_guessing(cursor_, config.vocab);
    if (is_last() && !warning.empty()) record_.warn(warning);
    return reason;
  }

  /// What is known about the run so far, for summary.json; null stands for what is not.
  Json summary() const {
    const ParameterCount parameters = parameter_count<Model>();
    Json json;
    json["params_total"] = parameters.total;
    json["params_active"] = parameters.active;
    json["params_embedding"] = parameters.embedding;
    json["steps"] = cursor_.step;
    json["tokens"] = cursor_.tokens;
    json["seconds"] = cursor_.seconds;
    json["tokens_per_second"] = speed(cursor_.tokens, cursor_.seconds);
    json["flops_per_token"] = token_flops(config, options_.length).training();
    json["train_loss"] = cursor_.last_train_loss;
    json["val_loss"] = cursor_.last_loss;
    json["val_perplexity"] = std::exp(cursor_.last_loss);
    json["best_val_loss"] = cursor_.best_loss;
    json["best_step"] = cursor_.best_step < 0 ? Json() : Json(cursor_.best_step);
    json["skipped_updates"] = optimizer_.skipped();
    const auto why = failure(cursor_);
    json["failure"] = why ? Json(why->what()) : Json();
    if constexpr (requires { model_.backend().threads(); })
      json["threads"] = model_.backend().threads();
    json["seed"] = options_.seed;
    return json;
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::variant<RandomWindows, ShuffledWindows> windows_of(
      std::span<const std::int32_t> train, std::span<const std::int32_t> validation) const {
    const TrainerOptions& o = options_;
    require_parts(train.size(), validation.size(), o.length, o.eval_length);
    if (o.windows == Windows::random) return RandomWindows(train, o.sequences, o.length, o.seed);
    return ShuffledWindows(train, o.sequences, o.length, o.seed, o.sequences * o.accumulation);
  }

  bool is_out_of_patience() const {
    return options_.patience > 0 && cursor_.evaluations_without_gain >= options_.patience;
  }
  bool is_last() const { return cursor_.step >= options_.steps; }
  bool is_due(int every) const { return cursor_.step % every == 0 || is_last(); }

  /// Tokens a second, or unknown.
  static double speed(std::int64_t tokens, double seconds) {
    return seconds > 0 ? double(tokens) / seconds : unknown;
  }

  /// What is due between two updates. Gives why the run ends here; `finished` when it does not.
  StopReason after_step() {
    const bool due = is_due(options_.eval_every), evaluated = due && evaluate();
    auto reason = StopReason::finished;
    if (evaluated && is_out_of_patience()) reason = StopReason::no_gain;
    if (cursor_.step == options_.pause_at && !is_last()) reason = StopReason::paused;
    if (due && !evaluated) reason = StopReason::stopped;
    if (!is_last() && should_stop()) reason = StopReason::stopped;
    const int every = options_.checkpoint_every;
    const bool ends = reason != StopReason::finished || is_last();
    if (ends || (every > 0 ? is_due(every) : evaluated)) save("last", ends);
    return reason;
  }

  bool should_stop() const { return callbacks_.should_stop && callbacks_.should_stop(); }

  void step() {
    const auto start = Clock::now();
    const double share = 1.0 / options_.accumulation;
    row_.loss = {};
    for (auto& layer : row_.load) std::fill(layer.begin(), layer.end(), 0.0);
    std::fill(row_.router_entropy.begin(), row_.router_entropy.end(), 0.0);
    for (int i = 0; i < options_.accumulation; ++i) {
      const auto sample = [&](auto& windows) {
        return windows.sample(cursor_.step, i * options_.sequences);
      };
      add(model_.forward_backward(std::visit(sample, windows_), share), share);
    }
    row_.report = optimizer_.step(rate());
    cursor_.skipped = optimizer_.skipped();
    ++cursor_.step;
    cursor_.tokens += row_.loss.tokens;
    if (std::isfinite(row_.loss.cross_entropy)) {
      cursor_.train_loss_sum += row_.loss.cross_entropy;
      ++cursor_.train_loss_steps;
    }
    model_.backend().synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    cursor_.seconds += seconds;
    session_seconds_ += seconds;
    session_tokens_ += row_.loss.tokens;
    report_step();
  }

  double rate() const {
    return Schedule{options_.schedule, options_.steps, options_.rates}(int(cursor_.step));
  }

  /// Adds one batch to the row of the update.
  void add(const Loss& loss, double share) {
    row_.loss.add(loss, share);
    for (std::size_t layer = 0; layer < row_.load.size(); ++layer) {
      const auto load = model_.expert_load(int(layer));
      for (std::size_t e = 0; e < load.size(); ++e) row_.load[layer][e] += share * load[e];
      row_.router_entropy[layer] += share * model_.router_entropy(int(layer));
    }
  }

  void report_step() {
    row_.step = cursor_.step;
    row_.tokens = cursor_.tokens;
    row_.skipped = optimizer_.skipped();
    row_.seconds = cursor_.seconds;
    row_.tokens_per_second = speed(session_tokens_, session_seconds_);
    for (std::size_t layer = 0; layer < row_.load.size(); ++layer) {
      row_.health[layer] = router_health(row_.load[layer]);
      const std::string warning = sentinel_.observe(int(layer), row_.health[layer]);
      if (!warning.empty() && callbacks_.on_warning) callbacks_.on_warning(warning);
    }
    row_.collapsed = sentinel_.collapsed();
    if (is_due(options_.log_every)) {
      if (callbacks_.measure) row_.measurements = callbacks_.measure();
      record_.add(row_);
    }
    if (callbacks_.on_step) callbacks_.on_step(row_);
  }

  /// False when it was given up; nothing is recorded then.
  bool evaluate() {
    EvaluationRow row{.step = cursor_.step,
                      .tokens = cursor_.tokens,
                      .seconds = cursor_.seconds,
                      .tokens_per_second = speed(session_tokens_, session_seconds_)};
    if (cursor_.train_loss_steps > 0)
      row.train_loss = cursor_.train_loss_sum / double(cursor_.train_loss_steps);
    const auto loss = moe::evaluate(model_, validation_, callbacks_.should_stop);
    if (!loss) return false;
    row.loss = loss->cross_entropy, row.accuracy = loss->accuracy;
    row.best = std::isfinite(row.loss) && (cursor_.best_step < 0 || row.loss < cursor_.best_loss);
    cursor_.last_loss =
        std::isfinite(row.loss) ? row.loss : std::numeric_limits<double>::infinity();
    cursor_.last_step = cursor_.step;
    cursor_.last_train_loss = row.train_loss;
    cursor_.train_loss_sum = 0;
    cursor_.train_loss_steps = 0;
    ++cursor_.evaluations_without_gain;
    record_.add(row);
    if (row.best) {
      const Cursor before = cursor_;
      cursor_.best_step = cursor_.step;
      cursor_.best_loss = row.loss;
      cursor_.evaluations_without_gain = 0;
      // `best` stays what was saved last, so that the next one that is better than that is saved.
      if (!save("best", false))
        cursor_.best_step = before.best_step, cursor_.best_loss = before.best_loss;
    }
    if (callbacks_.on_evaluation) callbacks_.on_evaluation(row);
    return true;
  }

  /// Whether it was saved, or nothing is to be; see RunRecord::save.
  bool save(const std::string& name, bool needed) {
    return record_.save(name, needed, [&](const std::string& place) {
      save_checkpoint(model_, optimizer_, cursor_, place, about_);
    });
  }

  Model& model_;
  Optimizer& optimizer_;
  TrainerOptions options_;
  TrainerCallbacks callbacks_;
  RunRecord record_;
  Json about_;
  std::variant<RandomWindows, ShuffledWindows> windows_;
  DisjointWindows validation_;
  RouterSentinel sentinel_;
  Cursor cursor_;
  StepRow row_;
  double session_seconds_ = 0;
  std::int64_t session_tokens_ = 0;
};

}  // namespace moe
