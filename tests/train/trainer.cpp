#include <cmath>
#include <filesystem>
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
using State = decltype(std::declval<TinyRun&>().state());

TinyTrainer trainer_of(TinyRun& run, const TrainerOptions& options,
                       TrainerCallbacks callbacks = {}) {
  return {run.model,           run.optimizer, run.text.train,
          run.text.validation, options,       std::move(callbacks)};
}

std::vector<Json> rows_of(const std::string& folder) {
  std::vector<Json> rows;
  const std::string text = read_file(folder + "/metrics.jsonl");
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = text.find('\n', begin);
    rows.push_back(parse_json(text.substr(begin, end - begin)));
  }
  return rows;
}

/// What a run left, without times and speeds.
struct Trace {
  State state;
  std::vector<std::string> rows;
  bool operator==(const Trace&) const = default;
};

bool of_the_moment(std::string_view name) {
  return name == "seconds" || name == "tokens_per_second";
}

Trace trace_of(TinyRun& run, const std::string& folder) {
  Trace trace{run.state(), {}};
  for (const Json& row : rows_of(folder)) {
    Json kept = Json::object();
    for (const auto& [name, value] : row.members("row"))
      if (!of_the_moment(name)) kept[name] = value;
    trace.rows.push_back(kept.dump());
  }
  return trace;
}

/// A run of 12 steps. With stop > 0 it is stopped after that step and resumed by new objects, which
/// hold other values until then. `harm` changes them after the resumption.
Trace run_in_two(int stop, const std::function<void(TinyRun&)>& harm = {}) {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "run");
  TinyRun run;
  if (stop > 0) {
    TinyRun first;
    options.pause_at = stop;
    REQUIRE(trainer_of(first, options).run() == StopReason::paused);
    options.pause_at = 0;
    run.model.forward(RandomWindows(run.text.train, 4, 16, 0).sample(0));
    run.model.backward();
    run.optimizer.step();
  }
  TinyTrainer trainer = trainer_of(run, options);
  if (stop > 0) CHECK(trainer.resume().empty());
  if (harm) harm(run);
  CHECK(trainer.run() == StopReason::finished);
  return trace_of(run, scratch / "run");
}

/// A backend that computes on another thing than threads.
struct Bare : Reference<float> {
  std::string describe() const { return "an abacus"; }
};
using BareTransformer = Transformer<test::tiny_config, Bare>;

static_assert(TrainerModel<test::TinyTransformer> && TrainerModel<BareTransformer>);
static_assert(TrainerOptimizer<Muon<test::TinyTransformer>>);
static_assert(!TrainerModel<Bare> && !TrainerModel<Muon<test::TinyTransformer>>);
static_assert(!TrainerOptimizer<test::TinyTransformer>);

}  // namespace

TEST_CASE("Trainer: a run stopped after any step and resumed gives the bits of one that was not",
          "[resume]") {
  const Trace whole = run_in_two(0);
  CHECK(whole.rows.size() == 12 + 3);
  for (int stop = 1; stop < 12; ++stop) {
    INFO("stopped after step " << stop);
    const Trace parts = run_in_two(stop);
    CHECK(parts.rows == whole.rows);
    CHECK(parts.state == whole.state);
  }
}

TEST_CASE("Trainer: shuffled windows are another order of the data, and resume too", "[resume]") {
  const auto run = [](Windows windows, int pause_at) {
    const test::ScratchFolder scratch;
    TrainerOptions options = test::tiny_run_options(scratch / "run");
    options.windows = windows;
    if (pause_at > 0) {
      TinyRun first;
      options.pause_at = pause_at;
      trainer_of(first, options).run();
      options.pause_at = 0;
    }
    TinyRun second(1, pause_at > 0 ? 2 : 0);
    TinyTrainer trainer = trainer_of(second, options);
    if (pause_at > 0) trainer.resume();
    trainer.run();
    return second.state();
  };
  const State whole = run(Windows::shuffled, 0);
  CHECK((run(Windows::shuffled, 7) == whole));
  CHECK((run(Windows::random, 0) != whole));
}

TEST_CASE("Trainer: leaving out any one piece of state is seen in the bits", "[resume]") {
  const Trace whole = run_in_two(0);
  const auto detected = [&](const std::function<void(TinyRun&)>& harm) {
    return run_in_two(6, harm).state != whole.state;
  };
  CHECK_FALSE(detected([](TinyRun&) {}));
  CHECK(detected([](TinyRun& run) { run.model.set_passes(0); }));
  CHECK(detected([](TinyRun& run) { run.optimizer.set_updates(0); }));
  CHECK(detected([](TinyRun& run) { run.model.grads().final_norm.weight.data[0] = 1; }));
  CHECK(detected([](TinyRun& run) {
    run.model.params().blocks.mixture[0].ffn.router.selection.bias.data[1] += 1e-3f;
  }));
  for (const std::string kind : {"first.blocks", "first.token", "second.final_norm"}) {
    INFO(kind);
    CHECK(detected([&](TinyRun& run) {
      run.optimizer.for_each_state([&](const std::string& name, auto& leaf) {
        if (has(name, kind)) std::fill_n(leaf.data, leaf.size, 0.0f);
      });
    }));
  }
}

TEST_CASE("Trainer: rows of training and evaluation have what the metrics promise", "[metrics]") {
  const test::ScratchFolder scratch;
  TinyRun run;
  std::vector<EvaluationRecord> evaluations;
  std::vector<std::int64_t> steps;
  TinyTrainer trainer = trainer_of(
      run, test::tiny_run_options(scratch / "run"),
      {.on_step = [&](const StepRecord& row) { steps.push_back(row.step); },
       .on_evaluation = [&](const EvaluationRecord& row) { evaluations.push_back(row); }});
  CHECK(trainer.run() == StopReason::finished);
  CHECK(steps.size() == 12);
  REQUIRE(evaluations.size() == 3);
  CHECK((evaluations[0].step == 5 && evaluations[1].step == 10 && evaluations[2].step == 12));

  int train_rows = 0;
  for (const Json& row : rows_of(scratch / "run")) {
    if (row.at("kind").as_string("kind") == "eval") {
      CHECK(std::abs(std::exp(row.at("val_loss").as_double("")) -
                     row.at("val_perplexity").as_double("")) < 1e-9);
      CHECK((row.at("val_accuracy").as_double("") > 0 && row.at("val_accuracy").as_double("") < 1));
      continue;
    }
    ++train_rows;
    CHECK(row.at("tokens").as_int("") == 128 * row.at("step").as_int(""));
    const double total = row.at("loss").as_double("") + 0.01 * row.at("balance").as_double("") +
                         0.001 * row.at("z").as_double("");
    CHECK(std::abs(row.at("total").as_double("") - total) < 1e-12);
    CHECK(row.at("grad_norm").as_double("") > 0);
    CHECK(row.at("lr").as_double("") > 0);
    CHECK(row.at("tokens_per_second").as_double("") > 0);
    REQUIRE(row.at("expert_load").items("").size() == 2);
    double sum = 0;
    for (const Json& share : row.at("expert_load").items("")[1].items(""))
      sum += share.as_double("");
    CHECK(std::abs(sum - 1) < 1e-12);
    CHECK(row.at("effective_experts").items("")[0].as_double("") > 1);
    CHECK(row.at("dead_experts").items("").size() == 2);
    CHECK(row.at("max_violation").items("")[1].as_double("") >= 0);
    const auto& entropy = row.at("router_entropy").items("");
    REQUIRE(entropy.size() == 2);
    const double mean = (entropy[0].as_double("") + entropy[1].as_double("")) / 2;
    CHECK(std::abs(mean - row.at("entropy").as_double("")) < 1e-12);
    CHECK((mean > 0 && mean <= std::log(4.0)));
  }
  CHECK(train_rows == 12);

  const Json summary = trainer.summary();
  for (const char* field : {"params_total", "params_active", "params_embedding", "steps", "tokens",
                            "seconds", "tokens_per_second", "flops_per_token", "train_loss",
                            "val_loss", "val_perplexity", "best_val_loss", "best_step", "seed"})
    CHECK(summary.at(field).as_double(field) >= 0);
  CHECK(summary.at("device").as_string("device") == run.backend.describe());
  double best = evaluations[0].loss;
  for (const EvaluationRecord& row : evaluations) best = std::min(best, row.loss);
  CHECK(summary.at("best_val_loss").as_double("") == best);
  CHECK(summary.at("val_loss").as_double("") == evaluations[2].loss);
}

TEST_CASE("Trainer: validation windows may be shorter or longer than those of training",
          "[evaluation]") {
  const auto losses = [](int eval_length) {
    TinyRun run;
    TrainerOptions options = test::tiny_run_options("");
    options.length = 8, options.eval_length = eval_length;
    double loss = 0;
    TinyTrainer trainer = trainer_of(
        run, options, {.on_evaluation = [&](const EvaluationRecord& row) { loss = row.loss; }});
    trainer.run();
    const int length = eval_length > 0 ? eval_length : 8;
    const Loss expected =
        evaluate(run.model, DisjointWindows(run.text.validation, 32 / length, length));
    CHECK(loss == expected.cross_entropy);
    CHECK(expected.tokens == int(run.text.validation.size()) - 1);
    return std::pair(loss, run.state());
  };
  const auto same = losses(0), shorter = losses(4), longer = losses(16);
  CHECK(losses(8) == same);
  CHECK((shorter.first != same.first && longer.first != same.first));
  CHECK((shorter.second == same.second && longer.second == same.second));
  CHECK(has(test::message_of([&] { losses(17); }), "the context of the model is 16"));
}

TEST_CASE("Trainer: TensorBoard gets a curve for every number of metrics.jsonl", "[metrics]") {
  const test::ScratchFolder scratch;
  TinyRun run;
  TrainerOptions options = test::tiny_run_options(scratch / "run", 5);
  options.tensorboard = true;
  const std::vector<Measurement> measured = {
      {"watts", 250}, {"volts", 12, false}, {"amperes", unknown}};
  trainer_of(run, options, {.measure = [&] { return measured; }}).run();
  int rows = 0;
  for (const Json& row : rows_of(scratch / "run")) {
    if (row.at("kind").as_string("kind") == "eval") continue;
    ++rows;
    CHECK(row.at("watts").as_double("") == 250);
    CHECK(row.at("volts").as_double("") == 12);
    CHECK(row.at("amperes").is_null());
  }
  CHECK(rows == 5);
  std::string events;
  for (const auto& entry : std::filesystem::directory_iterator(scratch / "run"))
    if (has(entry.path().filename().string(), "tfevents"))
      events = read_file(entry.path().string());
  const auto count = [&](const std::string& tag) {
    int found = 0;
    for (std::size_t at = 0; (at = events.find(tag, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  for (const std::string tag :
       {"loss/train", "accuracy/train", "opt/lr", "opt/grad_norm", "perf/tokens_per_second",
        "perf/watts", "aux/balance", "aux/z", "router/entropy/layer0", "router/entropy/layer1",
        "router/effective_experts/layer1", "router/max_violation/layer0",
        "router/dead_experts/layer1", "router/load/layer0", "router/load/layer1"})
    CHECK(std::pair(tag, count(tag)) == std::pair(tag, 5));
  for (const std::string tag : {"loss/val", "accuracy/val", "perplexity/val"})
    CHECK(std::pair(tag, count(tag)) == std::pair(tag, 1));
  for (const std::string tag : {"perf/volts", "perf/amperes"}) CHECK(count(tag) == 0);
}

TEST_CASE("Trainer: a summary tells what the backend computed on", "[metrics]") {
  Bare backend;
  BareTransformer model(backend, test::tiny_options());
  AdamW optimizer(model);
  const test::TinyText text;
  Trainer trainer(model, optimizer, text.train, text.validation, test::tiny_run_options("", 1));
  trainer.run();
  CHECK(trainer.summary().at("device").as_string("") == "an abacus");
  CHECK(trainer.summary().at("steps").as_int("") == 1);
}

TEST_CASE("evaluate: is the mean over every target of the split, by the model's own logits",
          "[evaluation]") {
  TinyRun run(1, 2);
  const auto tokens = std::span(run.text.validation).subspan(0, 150);  // 9 windows and a rest of 5
  const Loss loss = evaluate(run.model, DisjointWindows(tokens, 4, 16));
  CHECK(loss.tokens == 149);
  double sum = 0;
  for (std::size_t first = 0; first + 1 < tokens.size(); first += 16) {
    const int length = int(std::min<std::size_t>(16, tokens.size() - 1 - first));
    run.model.forward({&tokens[first], &tokens[first + 1], 1, length}, false);
    const auto logits = run.model.logits();
    for (int i = 0; i < length; ++i) {
      double exps = 0;
      for (int v = 0; v < 65; ++v) exps += std::exp(double(logits[std::size_t(i * 65 + v)]));
      sum += std::log(exps) - logits[std::size_t(i * 65 + tokens[first + std::size_t(i) + 1])];
    }
  }
  CHECK(std::abs(loss.cross_entropy - sum / 149) < 1e-6);
  CHECK(run.model.passes() == 2);  // the dropout streams have not moved
}

TEST_CASE("Trainer: accumulating two batches is one update of the batch of both", "[training]") {
  static constexpr ModelConfig config{
      .vocab = 65, .dim = 8, .layers = 1, .heads = 1, .context = 16};
  using Model = Transformer<config, Reference<double>>;
  const test::TinyText text;
  const auto parameters = [&](int sequences, int accumulation) {
    Reference<double> backend;
    Model model(backend, {.max_tokens = 8 * 16, .seed = 2});
    AdamW optimizer(model);
    Trainer(model, optimizer, text.train, text.validation,
            {.steps = 3, .sequences = sequences, .accumulation = accumulation})
        .run();
    std::vector<double> all;
    for_each_leaf([&](auto& leaf) { all.insert(all.end(), leaf.data, leaf.data + leaf.size); },
                  model.params());
    return all;
  };
  const auto once = parameters(8, 1), twice = parameters(4, 2), other = parameters(4, 1);
  double worst = 0, control = 0;
  for (std::size_t i = 0; i < once.size(); ++i) {
    worst = std::max(worst, std::abs(once[i] - twice[i]));
    control = std::max(control, std::abs(once[i] - other[i]));
  }
  CHECK(worst < 1e-9);
  CHECK(control > 1e-5);
}

TEST_CASE("Trainer: checkpoints are those of the best evaluation and of the last step",
          "[checkpoint]") {
  const test::ScratchFolder scratch;
  TinyRun run;
  TinyTrainer trainer = trainer_of(run, test::tiny_run_options(scratch / "run", 15));
  trainer.run();
  CHECK(read_manifest(scratch / "run/last").at("cursor").at("step").as_int("") == 15);
  TinyRun again;
  const TrainState best = load_checkpoint(again.model, again.optimizer, scratch / "run/best");
  CHECK(best.step == trainer.state().best_step);
  const Loss loss = evaluate(again.model, DisjointWindows(again.text.validation, 4, 16));
  CHECK(loss.cross_entropy == trainer.state().best_loss);
}

TEST_CASE("Trainer: a folder with a run is not overwritten unless told so", "[checkpoint]") {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "run", 2);
  {
    TinyRun run;
    trainer_of(run, options).run();
  }
  const std::string metrics = read_file(scratch / "run/metrics.jsonl");
  TinyRun run;
  const std::string message = message_of([&] { trainer_of(run, options).run(); });
  CHECK(is_sentence(message));
  CHECK(has(message, scratch / "run"));
  CHECK(read_file(scratch / "run/metrics.jsonl") == metrics);
  options.overwrite = true;
  options.steps = 1;
  TinyRun fresh;
  CHECK(trainer_of(fresh, options).run() == StopReason::finished);
  CHECK(rows_of(scratch / "run").size() == 2);
}

TEST_CASE("Trainer: resume names the settings that are not those of the run", "[resume]") {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "run", 2);
  TinyRun run;
  trainer_of(run, options).run();
  options.steps = 4;
  options.seed = 8;
  TinyTrainer trainer = trainer_of(run, options);
  const auto found = trainer.resume();
  REQUIRE(found.size() == 2);
  CHECK((found[0].field == "steps" && found[0].first == "2" && found[0].second == "4"));
  CHECK(found[1].field == "seed");
  CHECK(trainer.run() == StopReason::finished);
  CHECK(trainer.state().step == 4);
}

TEST_CASE("Trainer: stops when evaluations bring no gain, and when it is asked to", "[training]") {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "a", 100);
  options.eval_every = 1;
  options.patience = 3;
  TinyRun run;
  // With a huge learning rate the loss soon gets worse.
  Muon optimizer(run.model, {.lr = 5, .rest = {.lr = 5}});
  Trainer trainer(run.model, optimizer, run.text.train, run.text.validation, options);
  CHECK(trainer.run() == StopReason::early_stopped);
  CHECK(trainer.state().step == trainer.state().best_step + 3);

  options = test::tiny_run_options(scratch / "b", 100);
  TinyRun second;
  std::int64_t done = 0;
  TinyTrainer stopped = trainer_of(second, options,
                                   {.on_step = [&](const StepRecord& row) { done = row.step; },
                                    .should_stop = [&] { return done == 7; }});
  CHECK(stopped.run() == StopReason::stopped);
  CHECK(read_manifest(scratch / "b/last").at("cursor").at("step").as_int("") == 7);
}

TEST_CASE("Trainer: losses that are not finite end the run with a diagnosis, the checkpoint stays",
          "[training]") {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "run", 40);
  options.checkpoint_every = 1;
  TinyRun run;
  TinyTrainer trainer = trainer_of(run, options, {.on_step = [&](const StepRecord& row) {
                                     if (row.step == 3)
                                       run.model.params().final_norm.weight.data[0] = NAN;
                                   }});
  const std::string message = message_of([&] { trainer.run(); });
  CHECK(is_sentence(message));
  CHECK(has(message, "not finite"));
  CHECK(trainer.state().step < 15);
  TinyRun again;
  CHECK(load_checkpoint(again.model, again.optimizer, scratch / "run/last").step > 0);
}

TEST_CASE("Trainer: sizes that make no sense are refused by name", "[training]") {
  TinyRun run;
  const auto refusal = [&](auto&& change) {
    TrainerOptions options = test::tiny_run_options("", 2);
    change(options);
    return message_of([&] { trainer_of(run, options); });
  };
  CHECK(has(refusal([](auto& o) { o.steps = 0; }), "TrainerOptions.steps = 0"));
  CHECK(has(refusal([](auto& o) { o.sequences = 0; }), "sequences = 0"));
  CHECK(has(refusal([](auto& o) { o.length = -1; }), "length = -1"));
  CHECK(has(refusal([](auto& o) { o.accumulation = 0; }), "accumulation = 0"));
  CHECK(has(refusal([](auto& o) { o.eval_every = 0; }), "eval_every = 0"));
  CHECK(has(refusal([](auto& o) { o.length = 17; }), "context of the model is 16"));
  CHECK(has(refusal([](auto& o) { o.sequences = 5; }), "built for 64"));
  CHECK(refusal([](auto&) {}).empty());
  run.text.validation.resize(5);
  CHECK(is_sentence(refusal([](auto&) {})));
}
