#include <cmath>
#include <filesystem>
#include <moe_lab/watch.hpp>

#include "catch.hpp"
#include "started.hpp"
#include "train/tiny.hpp"

using namespace moe;
using test::has;

TEST_CASE("measurements: the use of the machine as columns, that of GPUs where there are any",
          "[metrics]") {
  const auto told = [](const lab::Resources& use) {
    std::string text;
    for (const Measurement& m : lab::measurements(use))
      text += m.name + "=" + std::to_string(int(m.value)) + (m.curve ? " " : "- ");
    return text;
  };
  lab::Resources use{.cpu_percent = 187, .memory_mb = 812};
  CHECK(told(use) == "cpu_percent=187 memory_mb=812 ");
  use.gpus = {{0, "a", 90, 1000, 4000, 50}, {1, "a", 30, 500, 4000, 60}};
  CHECK(told(use) ==
        "cpu_percent=187 memory_mb=812 gpu_percent=60 gpu_memory_mb=1500- gpu_temperature_c=60- ");
}

TEST_CASE("measurements: what a machine does not tell is not a number", "[metrics]") {
  lab::Resources use;
  use.gpus = {{.index = 0, .name = "a"}};
  const auto all = lab::measurements(use);
  CHECK(all.size() == 5);
  for (const Measurement& m : all) CHECK(std::isnan(m.value));
  CHECK(has(lab::describe(lab::Resources{}), "cpu unknown"));
}

TEST_CASE("Watch: rows and curves of a run tell what it uses, its lines tell how it goes",
          "[metrics]") {
  const test::ScratchFolder scratch;
  test::TinyRun run;
  TrainerOptions options = test::tiny_run_options(scratch / "run", 4);
  options.tensorboard = true;
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::vector<std::int64_t> steps;
  {
    lab::Watch watch({.steps = 4, .to = file});
    Trainer trainer(run.model, run.optimizer, run.text.train, run.text.validation, options,
                    watch.callbacks([&](const StepRecord& row) { steps.push_back(row.step); }));
    CHECK(trainer.run() == StopReason::finished);
  }
  CHECK(steps == std::vector<std::int64_t>{1, 2, 3, 4});
  std::rewind(file);
  std::string lines(4096, '\0');
  lines.resize(std::fread(lines.data(), 1, lines.size(), file));
  std::fclose(file);
  CHECK(has(lines, "step 4/4  loss "));
  CHECK(has(lines, "validation "));

  const std::string text = read_file(scratch / "run/metrics.jsonl");
  int rows = 0;
  for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = text.find('\n', begin);
    const Json row = parse_json(text.substr(begin, end - begin));
    if (row.at("kind").as_string("kind") == "eval") continue;
    ++rows;
    CHECK(row.at("memory_mb").as_double("") > 0);
    CHECK(row.at("cpu_percent").as_double("") >= 0);
  }
  CHECK(rows == 4);
  std::string events;
  for (const auto& entry : std::filesystem::directory_iterator(scratch / "run"))
    if (has(entry.path().filename().string(), "tfevents"))
      events = read_file(entry.path().string());
  CHECK(has(events, "perf/cpu_percent"));
  CHECK(has(events, "perf/memory_mb"));
}
