#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <moe/core/check_option.hpp>
#include <moe/optim/schedule.hpp>
#include <string>
#include <vector>

namespace moe::inline MOE_ISA {

/// Where training batches come from: windows at random positions, or adjacent windows drawn without
/// replacement, each once per epoch.
enum class Windows { random, shuffled };

/// Options of a training run. Steps are optimizer updates.
struct TrainerOptions {
  int steps = 0;
  int sequences = 16;    // in one batch
  int length = 0;        // tokens in a sequence; 0: the model's context
  int accumulation = 1;  // batches per update
  int eval_length = 0;   // tokens of a validation window; 0: length
  Windows windows = Windows::random;
  ScheduleKind schedule = ScheduleKind::cosine;
  ScheduleOptions schedule_options = {};
  int log_every = 10;        // steps between training rows in metrics.jsonl
  int eval_every = 250;      // steps between full evaluations; always one at the end
  int checkpoint_every = 0;  // steps between saves of `last`; 0: at every evaluation
  int patience = 0;          // stop after this many evaluations without a better one; 0: never
  int pause_at = 0;          // save and return after this step, to be resumed; 0: never
  std::uint64_t seed = 0;    // of the batches
  std::string out = {};      // folder of metrics, summary and checkpoints; "": nothing is written
  bool overwrite = false;    // start anew in a folder that holds a run
  bool tensorboard = false;  // also write event files to `out`, as often as rows to metrics.jsonl
};

/// Returns the options with the defaults that depend on the model, after checking them.
/// Errors: moe::Error for the first invalid option, or one that this model cannot satisfy.
template <class Model>
TrainerOptions checked_options(TrainerOptions o, const Model& model) {
  if (o.length == 0) o.length = Model::config.context;
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
  check_options(o.schedule_options, o.steps);
  if (const int longest = std::max(o.length, o.eval_length); longest > Model::config.context) {
    throw Error("cannot train on sequences of ", longest, " tokens: the context of the model is ",
                Model::config.context, "; use a shorter length");
  }
  if (const std::int64_t tokens =
          std::max(std::int64_t(o.sequences) * o.length, std::int64_t(o.eval_length));
      tokens > model.options().max_tokens) {
    throw Error("cannot train on batches of ", tokens, " tokens: the model was built for ",
                model.options().max_tokens, "; raise Options.max_tokens");
  }
  const int max_accumulation = std::numeric_limits<int>::max() / (o.sequences * o.length);
  check(o.accumulation <= max_accumulation, "accumulation", o.accumulation,
        "at most " + std::to_string(max_accumulation) +
            ", as the tokens of an update are counted in int");
  return o;
}

/// True if something is to be done after update `step`, before the next is queued.
inline bool is_boundary(const TrainerOptions& o, std::int64_t step) {
  return step >= o.steps || step % o.eval_every == 0 || step == o.pause_at ||
         (o.checkpoint_every > 0 && step % o.checkpoint_every == 0);
}

/// A sentence for each option that has no effect on a run that has made `step` updates.
inline std::vector<std::string> idle_options(const TrainerOptions& o, std::int64_t step) {
  std::vector<std::string> found;
  if (step > o.steps)
    found.push_back(concat({"the run has ", step, " steps already and ", o.steps,
                            " were asked for: nothing is left to train"}));
  if (o.pause_at > o.steps)
    found.push_back(concat({"pause_at ", o.pause_at, " is after the last step, ", o.steps,
                            ": the run will not pause"}));
  if (o.pause_at > 0 && o.pause_at < step)
    found.push_back(concat({"pause_at ", o.pause_at, " is before step ", step,
                            ", from which the run goes on: it will not pause"}));
  return found;
}

}  // namespace moe
