#pragma once
#include <cmath>
#include <limits>
#include <moe/checkpoint/config_json.hpp>
#include <moe/core/format.hpp>
#include <optional>
#include <string>

namespace moe::inline MOE_ISA {

/// The state of a run between two updates. With the parameters and the optimizer state it is all
/// that resuming needs. Random numbers are functions of (seed, step), so their state is a counter.
struct TrainState {
  std::int64_t step = 0;  // attempted updates, with skipped ones: the position in the data
  std::int64_t tokens = 0;
  std::uint64_t passes = 0;  // position in the dropout and noise streams
  std::int64_t updates = 0, skipped = 0, consecutive_skips = 0;
  std::int64_t best_step = -1;       // -1: no evaluation has had a finite loss yet
  std::int64_t last_step = -1;       // of the last evaluation; -1: none yet
  double best_loss = unknown;        // on the validation split, nats
  double last_loss = unknown;        // infinity: evaluated, but not finite
  double last_train_loss = unknown;  // mean of the steps before the last evaluation
  int evaluations_without_gain = 0;
  double train_loss_sum = 0;  // sum of the finite losses since the last evaluation
  std::int64_t train_loss_steps = 0;
  double seconds = 0;  // training only, over all sessions
};

/// True if more than half of the updates were skipped, so that the model is hardly trained.
inline bool mostly_skipped(const TrainState& state) {
  return 2 * state.skipped > state.step;
}

/// The reason why the result of a run is unusable, as a sentence, or "". A program prints it and
/// exits with a code other than 0.   Test: tests/checkpoint/train_state.cpp.
///
///     if (const auto why = moe::failure(trainer.state())) return fail(why->what());
inline std::optional<Error> failure(const TrainState& state) {
  if (mostly_skipped(state)) {
    return Error("the model is not trained: ", state.skipped, " of ", state.step,
                 " updates were skipped because the loss or the gradient was not finite; try a "
                 "lower lr or a longer warm-up");
  }
  if (std::isinf(state.last_loss)) {
    return Error(
        "the model is of no use: its validation loss after step ", state.last_step,
        " is not finite; ",
        (state.best_step < 0 ? "try a lower lr"
                             : "use the checkpoint of the best evaluation, or try a lower lr"));
  }
  return {};
}

/// A loss as text: "1.4990 nats", "not evaluated", "not finite".
inline std::string nats(double loss) {
  if (std::isnan(loss)) return "not evaluated";
  if (std::isinf(loss)) return "not finite";
  return detail::format("%.4f nats", loss);
}

/// A warning if a model is no better than one that gives each of the `vocab` tokens the same
/// probability, whose loss is ln(vocab); else "".   Test: tests/checkpoint/train_state.cpp.
inline std::string no_better_than_guessing(const TrainState& state, int vocab) {
  const double guessing = std::log(double(vocab));
  if (!std::isfinite(state.last_loss) || state.last_loss < guessing) return "";
  return "the model has learned nothing of use: its validation loss is " + nats(state.last_loss) +
         ", and giving all tokens the same probability costs " + nats(guessing) +
         "; try a lower lr or more steps";
}

/// The losses of a run in one line: "validation 1.4990 nats; best 1.4985 nats at step 1000".
inline std::string describe(const TrainState& state) {
  std::string text = "validation " + nats(state.last_loss);
  if (state.best_step >= 0)
    text += "; best " + nats(state.best_loss) + " at step " + std::to_string(state.best_step);
  return text;
}

namespace detail {

/// Reads the cursor of a manifest. Older manifests have no last_step: when they were saved every
/// evaluation that was due had been made, and values that were not known were written as 0.
inline TrainState read_cursor(const Json& json, const std::string& what) {
  TrainState state;
  if (!json.is_object() || json.find("last_step")) {  // from_json rejects what is no object
    from_json(state, json, what);
  } else {
    Json old = json;
    put(old, "last_step", std::int64_t(-1));
    from_json(state, old, what);
    const bool evaluated = state.best_step >= 0 || std::isnan(state.last_loss);
    if (evaluated) state.last_step = state.step;
    if (!evaluated) state.last_loss = state.last_train_loss = unknown;
    if (state.best_step < 0) state.best_loss = unknown;
  }
  // In JSON both "not evaluated" and "not finite" are null.
  if (state.last_step >= 0 && std::isnan(state.last_loss))
    state.last_loss = std::numeric_limits<double>::infinity();
  return state;
}

}  // namespace detail

}  // namespace moe
