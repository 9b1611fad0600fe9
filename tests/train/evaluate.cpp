#include <filesystem>

#include "catch.hpp"
#include "tiny.hpp"

using namespace moe;
using test::TinyRun;

namespace {

/// The rows without times and speeds, every parameter and state value, and the summary.
struct Trace {
  std::vector<std::string> rows;
  decltype(std::declval<TinyRun&>().state()) state;
  std::string summary;
  bool operator==(const Trace&) const = default;
};

Json without_times(const Json& row) {
  Json kept = Json::object();
  for (const auto& [name, value] : row.members("row")) {
    if (name != "seconds" && name != "tokens_per_second") kept[name] = value;
  }
  return kept;
}

std::vector<std::string> rows_of(const std::string& folder) {
  std::vector<std::string> rows;
  const std::string text = read_file(folder + "/metrics.jsonl");
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = text.find('\n', begin);
    rows.push_back(without_times(parse_json(text.substr(begin, end - begin))).dump());
  }
  return rows;
}

/// A run of 12 steps that is stopped in the evaluation after each step of `stops`, before batch
/// `batch` of it, and resumed by new objects every time.
Trace run(const std::vector<std::int64_t>& stops, int batch, int checkpoint_every = 0) {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "run");
  options.checkpoint_every = checkpoint_every;
  for (std::size_t session = 0;; ++session) {
    TinyRun tiny(1, session > 0 ? 2 : 0);
    std::int64_t step = session == 0 ? 0 : stops[session - 1];
    int asked = 0, evaluations = 0;
    const bool stop_here = session < stops.size();
    Trainer trainer(
        tiny.model, tiny.optimizer, tiny.text.train, tiny.text.validation, options,
        {.on_step = [&](const StepRecord& row) { step = row.step, asked = 0; },
         .on_evaluation = [&](const EvaluationRecord&) { ++evaluations; },
         .should_stop = [&] { return stop_here && step == stops[session] && asked++ == batch; }});
    if (session > 0) CHECK(trainer.resume().empty());
    const StopReason reason = trainer.run();
    if (!stop_here) {
      CHECK(reason == StopReason::finished);
      return {rows_of(scratch / "run"), tiny.state(), without_times(trainer.summary()).dump()};
    }
    CHECK(reason == StopReason::stopped);
    CHECK(trainer.state().step == stops[session]);
    CHECK(trainer.state().last_step < stops[session]);
    CHECK(read_manifest(scratch / "run/last").at("cursor").at("step").as_int("") == stops[session]);
    const std::string last = rows_of(scratch / "run").back();
    CHECK(test::has(last, "train"));  // no evaluation is recorded
  }
}

}  // namespace

TEST_CASE(
    "Trainer: a run stopped in any evaluation and resumed gives the bits and rows of one "
    "that was not",
    "[evaluate]") {
  const Trace whole = run({}, 0);
  CHECK(whole.rows.size() == 12 + 3);
  for (const std::int64_t step : {5, 10, 12}) {
    for (const int batch : {0, 1, 6}) {
      INFO("stopped after step " << step << " before batch " << batch);
      const Trace parts = run({step}, batch);
      CHECK(parts.rows == whole.rows);
      CHECK(parts.state == whole.state);
      CHECK(without_times(parse_json(parts.summary)).dump() == whole.summary);
    }
  }
  CHECK((run({5, 5, 12}, 3) == whole));
  CHECK((run({5, 10}, 2, 4) == whole));  // checkpoints at other steps than evaluations
}

TEST_CASE("evaluate: asks before each batch, and has no loss once it was stopped", "[evaluate]") {
  TinyRun tiny(1, 2);
  const DisjointWindows windows(tiny.text.validation, 4, 16);
  int asked = 0;
  const auto whole = evaluate(tiny.model, windows, [&] { return ++asked, false; });
  REQUIRE(whole);
  CHECK(asked == windows.batches());
  CHECK(whole->cross_entropy == evaluate(tiny.model, windows).cross_entropy);
  CHECK(whole->tokens == int(windows.targets()));
  asked = 0;
  CHECK_FALSE(evaluate(tiny.model, windows, [&] { return ++asked == 3; }));
  CHECK(asked == 3);
}
