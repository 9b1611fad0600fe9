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
inline bool mostly_skipped(const TrainState& cursor) {
  return 2 * cursor.skipped > cursor.step;
}

/// The reason why the result of a run is unusable, as a sentence, or "". A program prints it and
/// exits with a code other than 0.   Test: tests/checkpoint/train_state.cpp.
///
///     if (const auto why = moe::failure(trainer.state())) return fail(why->what());
inline std::optional<Error> failure(const TrainState& cursor) {
  if (mostly_skipped(cursor)) {
    return Error("the model is not trained: " + std::to_string(cursor.skipped) + " of " +
                 std::to_string(cursor.step) +
                 " updates were skipped because the loss or the gradient was not finite; try a "
                 "lower lr or a longer warm-up");
  }
  if (std::isinf(cursor.last_loss)) {
    return Error("the model is of no use: its validation loss after step " +
                 std::to_string(cursor.last_step) + " is not finite; " +
                 (cursor.best_step < 0
                      ? "try a lower lr"
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
inline std::string no_better_than_guessing(const TrainState& cursor, int vocab) {
  const double guessing = std::log(double(vocab));
  if (!std::isfinite(cursor.last_loss) || cursor.last_loss < guessing) return "";
  return "the model has learned nothing of use: its validation loss is " + nats(cursor.last_loss) +
         ", and giving all tokens the same probability costs " + nats(guessing) +
         "; try a lower lr or more steps";
}

/// The losses of a run in one line: "validation 1.4990 nats; best 1.4985 nats at step 1000".
inline std::string describe(const TrainState& cursor) {
  std::string text = "validation " + nats(cursor.last_loss);
  if (cursor.best_step >= 0)
    text += "; best " + nats(cursor.best_loss) + " at step " + std::to_string(cursor.best_step);
  return text;
}

namespace detail {

/// Reads the cursor of a manifest. Older manifests have no last_step: when they were saved every
/// evaluation that was due had been made, and values that were not known were written as 0.
inline TrainState read_cursor(const Json& json, const std::string& what) {
  TrainState cursor;
  if (!json.is_object() || json.find("last_step")) {  // from_json rejects what is no object
    from_json(cursor, json, what);
  } else {
    Json old = json;
    put(old, "last_step", std::int64_t(-1));
    from_json(cursor, old, what);
    const bool evaluated = cursor.best_step >= 0 || std::isnan(cursor.last_loss);
    if (evaluated) cursor.last_step = cursor.step;
    if (!evaluated) cursor.last_loss = cursor.last_train_loss = unknown;
    if (cursor.best_step < 0) cursor.best_loss = unknown;
  }
  // In JSON both "not evaluated" and "not finite" are null.
  if (cursor.last_step >= 0 && std::isnan(cursor.last_loss))
    cursor.last_loss = std::numeric_limits<double>::infinity();
  return cursor;
}

}  // namespace detail

}  // namespace moe
