#include <cmath>

#include "catch.hpp"
#include "train/tiny.hpp"

using namespace moe;
using test::has;
using test::is_sentence;
using test::TinyRun;

TEST_CASE("TrainState: a loss that is not known is null in JSON and NaN again when it is read",
          "[train_state]") {
  const Json json = parse_json(to_json(TrainState{}).dump());
  for (const char* field : {"best_loss", "last_loss", "last_train_loss"})
    CHECK(json.at(field).is_null());
  const TrainState back = detail::read_cursor(parse_json(json.dump()), "cursor");
  CHECK(std::isnan(back.best_loss));
  CHECK(std::isnan(back.last_loss));
  CHECK(std::isnan(back.last_train_loss));
  CHECK(describe(back) == "validation not evaluated");
}

TEST_CASE("TrainState: a loss that is not finite differs from one not evaluated, after reading too",
          "[train_state]") {
  TrainState state{.step = 4, .best_step = 2, .last_step = 4, .best_loss = 1.5};
  state.last_loss = std::numeric_limits<double>::infinity();
  const TrainState back = detail::read_cursor(parse_json(to_json(state).dump()), "cursor");
  CHECK(std::isinf(back.last_loss));
  CHECK(describe(back) == "validation not finite; best 1.5000 nats at step 2");
  CHECK(is_sentence(failure(back).value().what()));
}

TEST_CASE("TrainState: no better than guessing is said of finite losses from ln(vocab) on",
          "[train_state]") {
  TrainState state;
  CHECK(no_better_than_guessing(state, 65).empty());  // not evaluated
  for (const double loss : {1.0, 4.174, std::numeric_limits<double>::infinity()}) {
    state.last_loss = loss;
    CHECK(no_better_than_guessing(state, 65).empty());
  }
  for (const double loss : {4.175, 60.0}) {
    state.last_loss = loss;
    CHECK(has(no_better_than_guessing(state, 65), "4.1744 nats"));
  }
}

TEST_CASE("TrainState: files of earlier versions, where 0 meant not known, are read right",
          "[train_state]") {
  const auto old = [](const char* losses) {
    return detail::read_cursor(
        parse_json(R"({"step":3,"tokens":9,"passes":3,"updates":3,"skipped":0,)"
                   R"("consecutive_skips":0,"evaluations_without_gain":0,"train_loss_sum":0,)"
                   R"("train_loss_steps":0,"seconds":1,)" +
                   std::string(losses) + "}"),
        "cursor");
  };
  const TrainState never = old(R"("best_step":-1,"best_loss":0,"last_loss":0,"last_train_loss":0)");
  CHECK((std::isnan(never.best_loss) && std::isnan(never.last_loss)));
  CHECK(std::isnan(never.last_train_loss));
  CHECK(never.last_step == -1);
  const TrainState twice =
      old(R"("best_step":2,"best_loss":1.5,"last_loss":2,"last_train_loss":3)");
  CHECK((twice.best_loss == 1.5 && twice.last_loss == 2 && twice.last_train_loss == 3));
  CHECK(twice.last_step == 3);  // so that the resumed run does not evaluate once more
  const TrainState bad =
      old(R"("best_step":-1,"best_loss":0,"last_loss":null,"last_train_loss":3)");
  CHECK(std::isinf(bad.last_loss));
  CHECK(std::isnan(bad.best_loss));
}

TEST_CASE("failure: a run fails if most of its updates were skipped", "[train_state]") {
  CHECK(!failure({.step = 10, .skipped = 5, .last_step = 10, .last_loss = 1}));
  const std::string why =
      failure({.step = 10, .skipped = 6, .last_step = 10, .last_loss = 1}).value().what();
  CHECK(is_sentence(why));
  CHECK(has(why, "6 of 10"));
  CHECK(!failure({}));
}

TEST_CASE("Trainer: a run without an evaluation does not know its losses", "[train_state]") {
  const test::ScratchFolder scratch;
  TinyRun run;
  TrainerOptions options = test::tiny_run_options(scratch / "run");
  options.pause_at = 2;
  Trainer trainer(run.model, run.optimizer, run.text.train, run.text.validation, options);
  CHECK(trainer.run() == StopReason::paused);
  const Json summary = parse_json(trainer.summary().dump());
  for (const char* field :
       {"train_loss", "val_loss", "val_perplexity", "best_val_loss", "best_step", "failure"})
    CHECK(summary.at(field).is_null());
  TinyRun again;
  const TrainState saved = load_checkpoint(again.model, again.optimizer, scratch / "run/last");
  CHECK((std::isnan(saved.best_loss) && std::isnan(saved.last_loss)));
}

TEST_CASE("Trainer: says that most updates were skipped, also when there were few",
          "[train_state]") {
  TinyRun run;
  run.model.params().final_norm.weight.data[0] = NAN;
  std::vector<EvaluationRecord> rows;
  Trainer trainer(run.model, run.optimizer, run.text.train, run.text.validation,
                  test::tiny_run_options("", 5),  // fewer than AdamWOptions.skip_limit
                  {.on_evaluation = [&](const EvaluationRecord& row) { rows.push_back(row); }});
  CHECK(trainer.run() == StopReason::finished);
  CHECK(has(failure(trainer.state()).value().what(), "5 of 5"));
  CHECK(has(trainer.summary().at("failure").as_string(""), "5 of 5"));
  REQUIRE(rows.size() == 1);
  const Json row = metrics_row(rows[0]);
  for (const char* field : {"train_loss", "val_loss", "val_perplexity"})
    CHECK(parse_json(row.dump()).at(field).is_null());
  CHECK(parse_json(trainer.summary().dump()).at("best_step").is_null());
}

TEST_CASE("Records: what was not measured is null, what was is a number", "[train_state]") {
  StepRecord row;
  row.measurements = {{"cpu_percent"}, {"gpu_percent", 0}};
  const Json json = parse_json(metrics_row(row).dump());
  for (const char* field : {"tokens_per_second", "cpu_percent"}) CHECK(json.at(field).is_null());
  CHECK(json.at("gpu_percent").as_double("") == 0);
}
