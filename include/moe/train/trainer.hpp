#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <moe/checkpoint/checkpoint.hpp>
#include <moe/data/shuffled_windows.hpp>
#include <moe/data/text.hpp>
#include <moe/data/windows.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/train/run_record.hpp>
#include <moe/train/run_summary.hpp>
#include <moe/train/trainer_callbacks.hpp>
#include <moe/train/trainer_options.hpp>
#include <moe/train/update_queue.hpp>
#include <span>
#include <variant>

namespace moe::inline MOE_ISA {

/// The training loop: batch, forward, backward, update, and at intervals evaluation, metrics, and
/// the checkpoints `best` (by cross entropy) and `last` in options.out. Batches are a function of
/// (seed, step), so resume() and run() give the bits of a run that never stopped.
/// A device computes an update while the host prepares the next: callbacks, logs and warnings of an
/// update, a request to stop and Diverged come after the next one has been queued, at the latest.
/// Evaluations and checkpoints are between two updates.
/// Errors: moe::Error for sizes below 1, texts that are too short, a folder that already holds a
/// run, and whatever model, optimizer and files throw.  Test: tests/train/trainer.cpp.
///
///     moe::Trainer trainer(model, optimizer, train, validation, {.steps = 2000, .out = "runs/a"});
///     const moe::StopReason reason = trainer.run();
template <TrainerModel Model, TrainerOptimizer Optimizer>
class Trainer {
  static constexpr ModelConfig config = Model::config;

 public:
  /// `about` (vocabulary, settings) is stored in the manifests of the checkpoints. The token
  /// sequences must outlive the trainer.
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
  Trainer(const Trainer&) = delete;

  const TrainerOptions& options() const { return options_; }
  const TrainState& state() const { return state_; }
  std::string folder(const std::string& name) const { return options_.out + "/" + name; }

  /// Restores the state of out/last. Returns the settings of model and trainer that differ from the
  /// saved ones; with any of them the run is no longer the one that was stopped.
  std::vector<Difference> resume() {
    MOE_EXPECTS(!options_.out.empty(), "Trainer::resume needs TrainerOptions.out");
    require_idle("resume");
    const std::string from = record_.load_newest([&](const std::string& checkpoint) {
      state_ = load_checkpoint(model_, optimizer_, checkpoint);
    });
    sentinel_ = RouterSentinel(config.moe.experts, config.moe.top_k);
    // If the last session was stopped during an evaluation, the next begins with it.
    const bool evaluated = state_.last_step == state_.step || !is_due(options_.eval_every);
    completed_ = evaluated ? state_.step : -1;
    const Json manifest = read_manifest(from);
    auto found = differences(manifest.at("options"), to_json(model_.options()));
    if (const Json* run = manifest.find("run"); run && run->find("trainer"))
      for (auto& d : differences(*run->find("trainer"), about_["trainer"])) found.push_back(d);
    std::erase_if(found, [](const Difference& d) {
      return d.field == "out" || d.field == "pause_at" || d.field == "overwrite" ||
             d.field == "batch" || d.field == "max_tokens";  // these change memory, not results
    });
    return found;
  }

  /// Trains until all steps are done or something stops it. After an exception, also one of a
  /// callback, it can be called again and goes on.
  StopReason run() {
    const auto in_use = detail::hold(model_);  // other threads are refused meanwhile
    require_idle("run");
    const Running running{running_ = true};
    Queue queue(model_, optimizer_, options_.accumulation);
    record_.open(state_.step);
    session_seconds_ = 0, session_tokens_ = 0;
    for (const std::string& idle : idle_options(options_, state_.step)) record_.warn(idle);
    auto reason = is_out_of_patience() ? StopReason::early_stopped : StopReason::finished;
    try {
      // What was due after the last step and was not done, because something threw or stopped it.
      const bool begun = state_.step > 0 && completed_ != state_.step;
      if (begun && is_boundary(options_, state_.step)) reason = after_step(queue);
      while (reason == StopReason::finished && !is_last()) {
        queue_step(queue);
        // Where everything is done at once, as on the CPU, this is the update just queued.
        while (queue.is_full() || (queue.size() > 0 && queue.is_ready())) collect_step(queue);
        reason = after_step(queue);
      }
    } catch (...) {
      count_rest(queue);
      throw;
    }
    const std::string warning = no_better_than_guessing(state_, config.vocab);
    if (is_last() && !warning.empty()) record_.warn(warning);
    return reason;
  }

  /// The results so far, for summary.json. Unknown values are null.
  Json summary() const {
    return detail::run_summary(model_, state_, options_, optimizer_.skipped());
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Queue = detail::UpdateQueue<Model, Optimizer>;

  struct Running {
    bool& still;
    ~Running() { still = false; }
  };
  void require_idle(const char* what) const {
    MOE_EXPECTS(!running_, "Trainer::", what, " was called while it runs, by a callback");
  }

  std::variant<RandomWindows, ShuffledWindows> windows_of(
      std::span<const std::int32_t> train, std::span<const std::int32_t> validation) const {
    const TrainerOptions& o = options_;
    require_parts(train.size(), validation.size(), o.length, o.eval_length);
    if (o.windows == Windows::random) return RandomWindows(train, o.sequences, o.length, o.seed);
    return ShuffledWindows(train, o.sequences, o.length, o.seed, o.sequences * o.accumulation);
  }

  bool is_out_of_patience() const {
    return options_.patience > 0 && state_.evaluations_without_gain >= options_.patience;
  }
  bool is_last() const { return state_.step >= options_.steps; }
  bool is_due(int every) const { return state_.step % every == 0 || is_last(); }

  /// Does what is due between two updates. Returns why the run ends here, or `finished` if it goes
  /// on.
  StopReason after_step(Queue& queue) {
    bool stop = false;
    if (queue.size() > 0 && !is_boundary(options_, state_.step + queue.size())) {
      stop = should_stop();
      if (!stop) return StopReason::finished;
    }
    while (queue.size() > 0) collect_step(queue);
    const bool due = is_due(options_.eval_every);
    const bool evaluated = due && (state_.last_step == state_.step || evaluate());
    auto reason = StopReason::finished;
    if (evaluated && is_out_of_patience()) reason = StopReason::early_stopped;
    if (state_.step == options_.pause_at && !is_last()) reason = StopReason::paused;
    if (due && !evaluated) reason = StopReason::stopped;
    if (!is_last() && (stop || should_stop())) reason = StopReason::stopped;
    const int every = options_.checkpoint_every;
    const bool ends = reason != StopReason::finished || is_last();
    if (ends || (every > 0 ? is_due(every) : evaluated)) save("last", ends);
    if (evaluated || !due) completed_ = state_.step;
    return reason;
  }

  bool should_stop() const { return callbacks_.should_stop && callbacks_.should_stop(); }

  void queue_step(Queue& queue) {
    if (queue.size() == 0) last_arrival_ = Clock::now();
    const std::int64_t step = state_.step + queue.size();
    const auto batch = [&](int i) {
      return std::visit([&](auto& windows) { return windows.sample(step, i * options_.sequences); },
                        windows_);
    };
    queue.queue(batch,
                Schedule{options_.schedule, options_.steps, options_.schedule_options}(int(step)));
  }

  /// Waits for the oldest queued update, counts it and tells of it.
  void collect_step(Queue& queue) {
    count_step(queue);
    const auto arrival = Clock::now();
    const double seconds = std::chrono::duration<double>(arrival - last_arrival_).count();
    last_arrival_ = arrival;
    state_.seconds += seconds;
    session_seconds_ += seconds;
    session_tokens_ += row_.loss.tokens;
    report_step();
  }
  void count_step(Queue& queue) {
    ++state_.step;  // attempted, even if it is the one that throws
    queue.collect(row_);
    state_.skipped = optimizer_.skipped();
    state_.tokens += row_.loss.tokens;
    if (std::isfinite(row_.loss.cross_entropy)) {
      state_.train_loss_sum += row_.loss.cross_entropy;
      ++state_.train_loss_steps;
    }
  }
  /// Something has thrown: counts the updates that the model has made meanwhile, and writes their
  /// rows. No callback is called.
  void count_rest(Queue& queue) {
    while (queue.size() > 0) {
      try {
        count_step(queue);
        fill_row();
        if (is_due(options_.log_every)) record_.add(row_);
      } catch (const Diverged&) {  // so has the first, of which the caller hears
      }
    }
  }

  void report_step() {
    fill_row();
    for (std::size_t layer = 0; layer < row_.load.size(); ++layer) {
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
  void fill_row() {
    row_.step = state_.step;
    row_.tokens = state_.tokens;
    row_.skipped = optimizer_.skipped();
    row_.seconds = state_.seconds;
    row_.tokens_per_second = detail::speed(session_tokens_, session_seconds_);
    for (std::size_t layer = 0; layer < row_.load.size(); ++layer)
      row_.health[layer] = router_health(row_.load[layer]);
    row_.collapsed = sentinel_.collapsed();
  }

  /// Returns false if it was interrupted; nothing is recorded then.
  bool evaluate() {
    EvaluationRecord row{.step = state_.step,
                         .tokens = state_.tokens,
                         .seconds = state_.seconds,
                         .tokens_per_second = detail::speed(session_tokens_, session_seconds_)};
    if (state_.train_loss_steps > 0)
      row.train_loss = state_.train_loss_sum / double(state_.train_loss_steps);
    const auto loss = moe::evaluate(model_, validation_, callbacks_.should_stop);
    if (!loss) return false;
    row.loss = loss->cross_entropy, row.accuracy = loss->accuracy;
    row.best = std::isfinite(row.loss) && (state_.best_step < 0 || row.loss < state_.best_loss);
    state_.last_loss = std::isfinite(row.loss) ? row.loss : std::numeric_limits<double>::infinity();
    state_.last_step = state_.step;
    state_.last_train_loss = row.train_loss;
    state_.train_loss_sum = 0;
    state_.train_loss_steps = 0;
    ++state_.evaluations_without_gain;
    record_.add(row);
    if (row.best) {
      const TrainState before = state_;
      state_.best_step = state_.step;
      state_.best_loss = row.loss;
      state_.evaluations_without_gain = 0;
      // Keep the loss of the `best` that was saved last, so that the next better one is saved.
      if (!save("best", false))
        state_.best_step = before.best_step, state_.best_loss = before.best_loss;
    }
    if (callbacks_.on_evaluation) callbacks_.on_evaluation(row);
    return true;
  }

  /// Returns true if it was saved, or if nothing is to be saved; see RunRecord::save.
  bool save(const std::string& name, bool needed) {
    return record_.save(name, needed, [&](const std::string& place) {
      save_checkpoint(model_, optimizer_, state_, place, about_);
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
  TrainState state_;
  StepRecord row_;
  double session_seconds_ = 0;
  std::int64_t session_tokens_ = 0;
  std::int64_t completed_ = -1;  // the step after which all that was due has been done
  bool running_ = false;
  Clock::time_point last_arrival_;
};

}  // namespace moe
