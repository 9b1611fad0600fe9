#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <moe/data/batch.hpp>
#include <moe/data/shuffled_windows.hpp>
#include <moe/data/text.hpp>
#include <moe/flops.hpp>
#include <moe/optim/schedule.hpp>
#include <moe/parameters.hpp>
#include <moe/train/checkpoint.hpp>
#include <moe/train/evaluate.hpp>
#include <moe/train/rows.hpp>
#include <moe/train/run_folder.hpp>
#include <optional>
#include <span>
#include <variant>

namespace moe {

/// Where training batches come from: windows at random places, or cut side by side and drawn
/// without replacement, each once in an epoch.
enum class Windows { random, shuffled };

/// What a run does beyond its model and its optimiser. Steps are optimiser updates.
struct TrainerOptions {
  int steps = 0;
  int sequences = 16;    // of one batch
  int length = 0;        // tokens of a sequence; 0: the model's context
  int accumulation = 1;  // batches for one update
  int eval_length = 0;   // tokens of a validation window; 0: length
  Windows windows = Windows::random;
  ScheduleKind schedule = ScheduleKind::cosine;
  ScheduleOptions rates = {};
  int log_every = 10;        // training rows in metrics.jsonl
  int eval_every = 250;      // evaluations on the whole validation split; always one at the end
  int checkpoint_every = 0;  // `last`; 0: at every evaluation
  int patience = 0;          // stop after so many evaluations without a better one; 0: never
  int pause_at = 0;          // save and return after this step, to be resumed; 0: never
  std::uint64_t seed = 0;    // of the batches
  std::string out = {};      // folder of metrics, summary and checkpoints; "": nothing is written
  bool overwrite = false;    // start anew in a folder that holds a run
  bool tensorboard = false;  // also write event files to `out`, a row as often as to metrics.jsonl
};

enum class StopReason { finished, paused, stopped, no_gain };

struct TrainerCallbacks {
  std::function<void(const StepRow&)> on_step = {};
  std::function<void(const EvaluationRow&)> on_evaluation = {};
  std::function<void(const std::string&)> on_warning = {};
  // Asked after every step and between the batches of an evaluation, which is then given up: the
  // resumed run begins with it. `last` is saved before the end.
  std::function<bool()> should_stop = {};
};

/// The loop: batch, forward, backward, update, and at intervals evaluation, metrics, checkpoints
/// `best` (by cross entropy) and `last` in options.out. Batches are a function of (seed, step), so
/// that resume() and run() give the bits of a run that never stopped.
/// Errors: moe::Error for sizes below 1, texts that are too short, a folder that already holds a
/// run, and what model, optimiser and files throw.  Test: tests/train/trainer.cpp, tests/programs.
///
///     moe::Trainer trainer(model, optimizer, train, validation, {.steps = 2000, .out = "runs/a"});
///     const moe::StopReason reason = trainer.run();
template <class Model, class Optimizer>
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
        options_(checked(std::move(options))),
        callbacks_(std::move(callbacks)),
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
    claim_folder();
    const std::string from = load_newest();
    resumed_ = true;
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
    open_folder();
    session_seconds_ = 0, session_tokens_ = 0;
    if (cursor_.step > options_.steps)
      warn("the run has " + std::to_string(cursor_.step) + " steps already and " +
           std::to_string(options_.steps) + " were asked for: nothing is left to train");
    if (options_.pause_at > options_.steps)
      warn("pause_at " + std::to_string(options_.pause_at) + " is after the last step, " +
           std::to_string(options_.steps) + ": the run will not pause");
    if (options_.pause_at > 0 && options_.pause_at < cursor_.step)
      warn("pause_at " + std::to_string(options_.pause_at) + " is before step " +
           std::to_string(cursor_.step) + ", from which the run goes on: it will not pause");
    auto reason = is_out_of_patience() ? StopReason::no_gain : StopReason::finished;
    // A session that was stopped in an evaluation is followed by one that begins with it.
    const bool begun = cursor_.step > 0 && cursor_.last_step != cursor_.step;
    if (begun && is_due(options_.eval_every)) reason = after_step();
    while (reason == StopReason::finished && !is_last()) {
      step();
      reason = after_step();
    }
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
    const std::string why = failure(cursor_);
    json["failure"] = why.empty() ? Json() : Json(why);
    json["threads"] = model_.backend().threads();
    json["seed"] = options_.seed;
    return json;
  }

 private:
  using Clock = std::chrono::steady_clock;

  TrainerOptions checked(TrainerOptions o) const {
    if (o.length == 0) o.length = config.context;
    if (o.eval_length == 0) o.eval_length = o.length;
    const detail::OptionCheck check{"train", "TrainerOptions"};
    check.at_least("steps", o.steps, 1);
    check.at_least("sequences", o.sequences, 1);
    check.at_least("length", o.length, 1);
    check.at_least("accumulation", o.accumulation, 1);
    check.at_least("eval_length", o.eval_length, 1);
    check.at_least("log_every", o.log_every, 1);
    check.at_least("eval_every", o.eval_every, 1);
    check.at_least("checkpoint_every", o.checkpoint_every, 0);
    check.at_least("patience", o.patience, 0);
    check.at_least("pause_at", o.pause_at, 0);
    check_options(o.rates, o.steps);
    if (const int longest = std::max(o.length, o.eval_length); longest > config.context) {
      throw Error("moe: cannot train on sequences of " + std::to_string(longest) +
                  " tokens: the context of the model is " + std::to_string(config.context) +
                  "; use a shorter length");
    }
    if (const std::int64_t tokens =
            std::max(std::int64_t(o.sequences) * o.length, std::int64_t(o.eval_length));
        tokens > model_.options().max_tokens) {
      throw Error("moe: cannot train on batches of " + std::to_string(tokens) +
                  " tokens: the model was built for " +
                  std::to_string(model_.options().max_tokens) + "; raise Options.max_tokens");
    }
    const int most = std::numeric_limits<int>::max() / (o.sequences * o.length);
    check(o.accumulation <= most, "accumulation", o.accumulation,
          "at most " + std::to_string(most) + ", as the tokens of an update are counted in int");
    return o;
  }

  std::variant<RandomWindows, ShuffledWindows> windows_of(
      std::span<const std::int32_t> train, std::span<const std::int32_t> validation) const {
    const TrainerOptions& o = options_;
    require_parts(train.size(), validation.size(), o.length, o.eval_length);
    if (o.windows == Windows::random) return RandomWindows(train, o.sequences, o.length, o.seed);
    return ShuffledWindows(train, o.sequences, o.length, o.seed, o.sequences * o.accumulation);
  }

  bool is_last() const { return cursor_.step >= options_.steps; }
  bool is_due(int every) const { return cursor_.step % every == 0 || is_last(); }

  /// From here to the end of the trainer the folder is ours.
  void claim_folder() {
    if (lock_) return;
    make_folders(options_.out);
    lock_.emplace(options_.out, "run");
  }

  /// Loads the newest checkpoint; when it is damaged, the next one. Gives its folder.
  std::string load_newest() {
    require_checkpoint(options_.out);
    const std::vector<std::string> saved = checkpoints(options_.out);
    for (std::size_t i = 0;; ++i) {
      try {
        cursor_ = load_checkpoint(model_, optimizer_, saved[i]);
        for (std::size_t j = i + 1; j < saved.size(); ++j)  // older, or it cannot be read
          unless_needed(false, [&] { static_cast<void>(read_manifest(saved[j])); });
        return saved[i];
      } catch (const Error& error) {
        if (i + 1 < saved.size()) {
          warn(std::string(error.what()) + "; trying '" + saved[i + 1] + "'");
          continue;
        }
        // Where the files are good the reason is another one, which holds for `best` as well.
        if (detail::is_intact(saved[i]) || !detail::is_intact(folder("best"))) throw;
        throw Error(error.what() + std::string("; or put a copy of '") + folder("best") +
                    "' into its place to go on from the best evaluation");
      }
    }
  }

  bool is_out_of_patience() const {
    return options_.patience > 0 && cursor_.evaluations_without_gain >= options_.patience;
  }

  /// Refuses a folder that holds a run, or what looks like one, unless that goes on or is replaced.
  void require_free() const {
    if (resumed_ || !holds_run(options_.out)) return;
    detail::require_ours(folder("metrics.jsonl"), detail::has_metrics);
    if (options_.overwrite) return;
    const std::string owner = FolderLock::owner(options_.out, "run");
    throw Error("moe: cannot start a run in '" + options_.out + "': it already holds one" +
                (owner.empty() ? "" : ", which " + owner + " is training") +
                "; resume that run, overwrite it, or choose another folder");
  }

  /// Everything that could stand in the way of a save is looked at before the first step.
  void open_folder() {
    if (options_.out.empty() || opened_) return;
    require_free();  // a refusal touches nothing, not even for a lock
    claim_folder();
    require_free();
    if (!resumed_ && holds_run(options_.out)) {
      Removal removal;
      removal.add_run(options_.out);
      removal.go();
    }
    for (const char* name : {"last", "best"})
      unless_needed(!resumed_, [&] { FolderTransaction(folder(name), detail::manifest_file); });
    const std::int64_t keep_to = resumed_ ? cursor_.step : -1;
    unless_needed(!resumed_, [&] {
      metrics_.emplace(folder("metrics.jsonl"), keep_to);
      if (metrics_->set_aside() > 0)
        warn(std::to_string(metrics_->set_aside()) + " rows of '" + folder("metrics.jsonl") +
             "' could not be read and were moved to '" + metrics_->set_aside_path() + "'");
    });
    if (options_.tensorboard)
      unless_needed(!resumed_, [&] { board_.emplace(options_.out, keep_to); });
    opened_ = true;
  }

  void warn(const std::string& text) const {
    if (callbacks_.on_warning) {
      callbacks_.on_warning(text);
    } else {
      std::fprintf(stderr, "warning: %s\n", text.c_str());
    }
  }

  /// Work that a run can do without: when it fails the run says so and goes on, unless it is needed
  /// after all. Whether it was done.
  template <class F>
  bool unless_needed(bool needed, const F& work) const {
    try {
      work();
      return true;
    } catch (const std::exception& error) {  // also of want of memory
      if (needed) throw;
      warn(std::string(error.what()) + "; the run goes on");
      return false;
    }
  }

  /// Rows for people and plots; after a failure nothing more is written to that place.
  template <class Row>
  void record(const Row& row) {
    if (metrics_ && !unless_needed(false, [&] { metrics_->write(metrics_row(row)); }))
      metrics_.reset();
    if (board_ && !unless_needed(false, [&] { write(*board_, row); })) board_.reset();
  }

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
    row_.loss.cross_entropy += share * loss.cross_entropy;
    row_.loss.balance += share * loss.balance;
    row_.loss.z += share * loss.z;
    row_.loss.entropy += share * loss.entropy;
    row_.loss.total += share * loss.total;
    row_.loss.accuracy += share * loss.accuracy;
    row_.loss.tokens += loss.tokens;
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
      row_.resources = monitor_.sample();
      record(row_);
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
    record(row);
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

  /// A save that fails does not end the run: it is made beside its place, NAME-rescue, where
  /// resume() finds it. `needed`: nothing will be saved after it, so failing twice is an error.
  /// Whether it was saved, or nothing is to be.
  bool save(const std::string& name, bool needed) {
    if (options_.out.empty()) return true;
    const std::string rescue = folder(name + "-rescue");
    const auto save_to = [&](const std::string& place) {
      save_checkpoint(model_, optimizer_, cursor_, place, about_);
    };
    if (unless_needed(false, [&] { save_to(folder(name)); })) {
      unless_needed(false, [&] {
        Removal old;
        old.add_saved(rescue, detail::manifest_file);
        old.go();
      });
      return true;
    }
    if (!unless_needed(needed, [&] { save_to(rescue); })) return false;
    warn("the checkpoint was saved as '" + rescue + "' instead");
    return true;
  }

  Model& model_;
  Optimizer& optimizer_;
  TrainerOptions options_;
  TrainerCallbacks callbacks_;
  Json about_;
  std::variant<RandomWindows, ShuffledWindows> windows_;
  DisjointWindows validation_;
  RouterSentinel sentinel_;
  std::optional<MetricsWriter> metrics_;
  std::optional<TensorBoardWriter> board_;
  ResourceMonitor monitor_;
  Cursor cursor_;
  StepRow row_;
  double session_seconds_ = 0;
  std::int64_t session_tokens_ = 0;
  std::optional<FolderLock> lock_;
  bool resumed_ = false, opened_ = false;
};

}  // namespace moe
