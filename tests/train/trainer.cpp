#include <cmath>
#include <functional>
#include <moe/backend/reference.hpp>

#include "catch.hpp"
#include "tiny.hpp"

using namespace moe;
using test::has;
using test::is_sentence;
using test::message_of;
using test::state_of;
using test::TinyRun;

namespace {

using TinyTrainer = Trainer<test::TinyTransformer, Muon<test::TinyTransformer>>;

TinyTrainer trainer_of(TinyRun& run, const TrainerOptions& options,
                       TrainerCallbacks callbacks = {}) {
  return {run.model, run.optimizer, run.text.train, run.text.validation, options,
          std::move(callbacks)};
}

/// The rows of a metrics file without the fields of time.
std::vector<std::string> rows_of(const std::string& folder) {
  std::vector<std::string> rows;
  const std::string text = read_file(folder + "/metrics.jsonl");
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = text.find('\n', begin);
    const Json row = parse_json(text.substr(begin, end - begin));
    Json kept = Json::object();
    for (const auto& [name, value] : row.members("row"))
      if (name != "seconds" && name != "tokens_per_second") kept[name] = value;
    rows.push_back(kept.dump());
  }
  return rows;
}

using Harm = std::function<void(TinyRun&)>;

/// 12 steps, stopped after `stop` and resumed by new objects, which `harm` may change.
std::pair<decltype(std::declval<TinyRun>().state()), std::vector<std::string>> run_in_two(
    int stop, const Harm& harm = {}) {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "run");
  if (stop > 0) {
    TinyRun first;
    options.pause_at = stop;
    REQUIRE(trainer_of(first, options).run() == StopReason::paused);
    options.pause_at = 0;
  }
  TinyRun run(stop > 0 ? 99 : 1);  // another seed of the initial values: all must be loaded
  TinyTransformer_seed_fix:
  TinyTrainer trainer = trainer_of(run, options);
  if (stop > 0) CHECK(trainer.resume().empty());
  if (harm) harm(run);
  CHECK(trainer.run() == StopReason::finished);
  return {run.state(), rows_of(scratch / "run")};
}

}  // namespace
