#include <sys/stat.h>

#include <filesystem>

#include "catch.hpp"
#include "tiny.hpp"

using namespace moe;
using detail::names_in;
using test::has;
using test::is_sentence;
using test::message_of;
using Names = std::vector<std::string>;

namespace {

/// One trainer with a model of its own; its warnings are kept.
struct Session {
  test::TinyRun run;
  Names warnings = {};
  Trainer<test::TinyTransformer, Muon<test::TinyTransformer>> trainer;

  explicit Session(TrainerOptions options)
      : trainer(run.model, run.optimizer, run.text.train, run.text.validation, options,
                {.on_warning = [this](const std::string& text) { warnings.push_back(text); }}) {}
};

TrainerOptions paused_at(const std::string& out, int step) {
  TrainerOptions options = test::tiny_run_options(out);
  options.checkpoint_every = 1;
  options.pause_at = step;
  return options;
}
TrainerOptions overwriting(const std::string& out) {
  TrainerOptions options = test::tiny_run_options(out);
  options.overwrite = true;
  return options;
}

/// The bits of a run of 12 steps that nothing disturbed.
std::vector<std::pair<std::string, std::vector<float>>> undisturbed() {
  Session whole(test::tiny_run_options(""));
  whole.trainer.run();
  return whole.run.state();
}

}  // namespace

TEST_CASE("Trainer: overwriting removes only what a run wrote", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(test::tiny_run_options(out)).trainer.run();
  write_file(out + "/notes.txt", "mine");
  SECTION("files beside the run stay") {
    Session(overwriting(out)).trainer.run();
    CHECK(read_file(out + "/notes.txt") == "mine");
    CHECK(names_in(out) == Names{"best", "last", "metrics.jsonl", "notes.txt"});
  }
  SECTION("something else in the place of our files is refused, and nothing is touched") {
    const std::string places[] = {"last/thesis.txt", "best/thesis.txt", "last/model.safetensors",
                                  "metrics.jsonl", "last-rescue/a"};
    for (const std::string& place : places) {
      const std::string path = out + "/" + place;
      const std::string before = detail::exists(path) ? read_file(path) : "";
      make_folders(detail::parent_folder(path));
      write_file(path, "hello");
      const std::string message = message_of([&] { Session(overwriting(out)).trainer.run(); });
      INFO(message);
      CHECK(is_sentence(message));
      CHECK(has(message, place.substr(place.find('/') + 1)));
      CHECK(read_file(path) == "hello");
      CHECK(detail::exists(out + "/last/manifest.json"));
      CHECK(detail::exists(out + "/best/manifest.json"));
      before.empty() ? static_cast<void>(std::remove(path.c_str())) : write_file(path, before);
    }
  }
}

TEST_CASE("Trainer: a new run in a folder with something of that name is refused", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  make_folders(out + "/last");
  write_file(out + "/last/photo.png", "x");
  CHECK(is_sentence(message_of([&] { Session(test::tiny_run_options(out)).trainer.run(); })));
  CHECK(names_in(out) == Names{"last"});
  REQUIRE(std::remove((out + "/last/photo.png").c_str()) == 0);
  REQUIRE(::rmdir((out + "/last").c_str()) == 0);
  make_folders(out + "/metrics.jsonl");
  CHECK(is_sentence(message_of([&] { Session(overwriting(out)).trainer.run(); })));
  REQUIRE(::rmdir((out + "/metrics.jsonl").c_str()) == 0);
  Session(test::tiny_run_options(out)).trainer.run();
  // A folder whose rows are gone still holds a run: its checkpoints are not thrown away unasked.
  REQUIRE(std::remove((out + "/metrics.jsonl").c_str()) == 0);
  CHECK(has(message_of([&] { Session(test::tiny_run_options(out)).trainer.run(); }),
            "already holds one"));
  // Nor is a best model alone. Rows of another program are refused, too.
  detail::remove_owned(out + "/last", detail::manifest_file);
  CHECK(has(message_of([&] { Session(test::tiny_run_options(out)).trainer.run(); }),
            "already holds one"));
  write_file(out + "/metrics.jsonl", "{\"step\":1,\"train/loss\":2}\n");
  CHECK(has(message_of([&] { Session(overwriting(out)).trainer.run(); }), "metrics.jsonl"));
  CHECK(detail::exists(out + "/best/manifest.json"));
}

TEST_CASE("Trainer: overwriting a run whose checkpoint is a link to another place", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  make_folders(out);
  REQUIRE(::symlink("../elsewhere", (out + "/last").c_str()) == 0);
  Session(test::tiny_run_options(out)).trainer.run();
  Session(overwriting(out)).trainer.run();
  struct stat status;
  REQUIRE(::lstat((out + "/last").c_str(), &status) == 0);
  CHECK(S_ISLNK(status.st_mode));
  CHECK(detail::exists(scratch / "elsewhere/manifest.json"));
}

TEST_CASE("Trainer: a checkpoint that is a link to another one of a run is refused", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r", other = scratch / "other";
  Session(test::tiny_run_options(other)).trainer.run();
  for (const char* target : {"best", "../other/last"}) {
    Session(paused_at(out, 7)).trainer.run();
    const std::string best = read_file(out + "/best/manifest.json");
    const std::string foreign = read_file(other + "/last/manifest.json");
    detail::remove_owned(out + "/last", detail::manifest_file);
    REQUIRE(::symlink(target, (out + "/last").c_str()) == 0);
    Session second(paused_at(out, 0));
    const std::string message = message_of([&] { second.trainer.resume(); });
    CHECK(is_sentence(message));
    CHECK(has(message, "link"));
    CHECK(has(message_of([&] { Session(overwriting(out)).trainer.run(); }), "link"));
    CHECK(read_file(out + "/best/manifest.json") == best);
    CHECK(read_file(other + "/last/manifest.json") == foreign);
    REQUIRE(::unlink((out + "/last").c_str()) == 0);
    Session(overwriting(out)).trainer.run();
    detail::remove_owned(out + "/last", detail::manifest_file);
    detail::remove_owned(out + "/best", detail::manifest_file);
    REQUIRE(std::remove((out + "/metrics.jsonl").c_str()) == 0);
  }
}

TEST_CASE("Trainer: rows without a checkpoint cannot be resumed, and the error says so",
          "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  make_folders(out);
  write_file(out + "/metrics.jsonl", "{\"kind\":\"train\",\"step\":1}\n");
  const std::string start = message_of([&] { Session(test::tiny_run_options(out)).trainer.run(); });
  CHECK(has(start, "stopped before its first checkpoint; overwrite it"));
  CHECK(
      has(message_of([&] { Session(test::tiny_run_options(out)).trainer.resume(); }), "overwrite"));
  Session(overwriting(out)).trainer.run();
}

TEST_CASE("Trainer: a folder has one run at a time, from before the first touch", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session first(paused_at(out, 5));
  first.trainer.run();
  const std::string rows = read_file(out + "/metrics.jsonl");
  for (const bool resumes : {true, false}) {
    Session second(overwriting(out));
    const std::string message = message_of([&] {
      if (resumes) second.trainer.resume();
      second.trainer.run();
    });
    CHECK(is_sentence(message));
    CHECK(has(message, "process " + std::to_string(::getpid())));
    CHECK(read_file(out + "/metrics.jsonl") == rows);
    CHECK(detail::exists(out + "/last/manifest.json"));
  }
}

TEST_CASE("Trainer: files of a notebook in a checkpoint stop neither run nor resume", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(paused_at(out, 5)).trainer.run();
  make_folders(out + "/last/.ipynb_checkpoints");
  write_file(out + "/last/.ipynb_checkpoints/a", "b");
  Session second(paused_at(out, 0));
  second.trainer.resume();
  second.trainer.run();
  CHECK((second.run.state() == undisturbed()));
  CHECK(second.warnings.empty());
  CHECK(read_file(out + "/last/.ipynb_checkpoints/a") == "b");
}

TEST_CASE("Trainer: a failed save warns and is made in another place, from which a run resumes",
          "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(paused_at(out, 3)).trainer.run();
  const std::string weights = out + "/last/model.safetensors", good = read_file(weights);
  {
    Session second(paused_at(out, 6));
    second.trainer.resume();
    write_file(weights, "edited by somebody");  // no save may replace this
    CHECK(second.trainer.run() == StopReason::paused);
    REQUIRE(!second.warnings.empty());
    CHECK(has(second.warnings.front(), "the run goes on"));
    CHECK(has(second.warnings.back(), "last-rescue"));
    CHECK(read_file(weights) == "edited by somebody");
    CHECK(newest_checkpoint(out) == out + "/last-rescue");
  }
  write_file(weights, good);
  CHECK(newest_checkpoint(out) == out + "/last-rescue");  // step 6 against step 3
  Session third(paused_at(out, 0));
  third.trainer.resume();
  CHECK(third.trainer.state().step == 6);
  third.trainer.run();
  CHECK((third.run.state() == undisturbed()));
  CHECK(!detail::exists(out + "/last-rescue"));
  CHECK(newest_checkpoint(out) == out + "/last");
}

TEST_CASE("Trainer: if `last` is damaged, the next best checkpoint is loaded, or named",
          "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  const auto damage = [](const std::string& path) {
    std::string bytes = read_file(path);
    bytes.back() = char(bytes.back() ^ 1);
    write_file(path, bytes);
  };
  Session(paused_at(out, 6)).trainer.run();
  std::filesystem::copy(out + "/last", out + "/last-rescue");
  damage(out + "/last/model.safetensors");
  {
    Session second(paused_at(out, 0));
    second.trainer.resume();
    REQUIRE(!second.warnings.empty());
    CHECK(is_sentence(second.warnings.front()));
    CHECK(has(second.warnings.front(), "last-rescue"));
    second.trainer.run();
    CHECK((second.run.state() == undisturbed()));
  }
  SECTION("a manifest that cannot even be read is no obstacle") {
    std::filesystem::remove(out + "/last/manifest.json");
    std::filesystem::create_directory(out + "/last/manifest.json");
    Session again(paused_at(out, 0));
    again.trainer.resume();
    CHECK(again.trainer.state().step == 12);
    CHECK(!again.warnings.empty());
    return;
  }
  damage(out + "/last-rescue/manifest.json");
  Session third(paused_at(out, 0));
  const std::string message = message_of([&] { third.trainer.resume(); });
  CHECK(is_sentence(message));
  CHECK(has(message, "best"));
  std::filesystem::remove_all(out + "/last");
  std::filesystem::remove_all(out + "/last-rescue");
  std::filesystem::copy(out + "/best", out + "/last");  // as the message says
  third.trainer.resume();
  third.trainer.run();
  CHECK((third.run.state() == undisturbed()));
}

TEST_CASE("Trainer: best_step is the best evaluation that could be saved", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  TrainerOptions options = paused_at(out, 0);
  options.eval_every = 1;
  std::int64_t saved = -1;
  test::TinyRun tiny;
  Trainer trainer(tiny.model, tiny.optimizer, tiny.text.train, tiny.text.validation, options,
                  {.on_step =
                       [&](const StepRecord& row) {
                         if (row.step != 4) return;
                         saved = read_manifest(out + "/best").at("cursor").at("step").as_int("s");
                         write_file(out + "/best/model.safetensors", "edited by somebody");
                         make_folders(out + "/best-rescue");
                         write_file(out + "/best-rescue/theirs", "x");
                       },
                   .on_warning = [](const std::string&) {}});
  trainer.run();
  CHECK(saved > 0);
  CHECK(trainer.state().best_step == saved);
}

TEST_CASE("Trainer: an error other than damage does not advise using `best`", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(test::tiny_run_options(out)).trainer.run();
  test::TinyRun run;
  AdamW optimizer(run.model);  // another optimizer than that of the run
  Trainer trainer(run.model, optimizer, run.text.train, run.text.validation, paused_at(out, 0));
  const std::string message = message_of([&] { trainer.resume(); });
  CHECK(is_sentence(message));
  CHECK(!has(message, "best"));
}

TEST_CASE("Trainer: what a killed program left between two renames does not come back",
          "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(test::tiny_run_options(out)).trainer.run();
  for (const char* name : {"/metrics.jsonl", "/best/manifest.json", "/best/model.safetensors",
                           "/best/optimizer.safetensors"})
    std::filesystem::remove(out + name);
  std::filesystem::remove(out + "/best");
  std::filesystem::rename(out + "/last", out + "/.last.moe-old");
  CHECK(holds_run(out));
  TrainerOptions options = overwriting(out);
  options.checkpoint_every = 100;
  options.eval_every = 100;
  options.pause_at = 0;
  bool came_back = true;
  test::TinyRun run;
  Trainer trainer(run.model, run.optimizer, run.text.train, run.text.validation, options,
                  {.on_step = [&](const StepRecord& row) {
                    if (row.step == 1) came_back = newest_checkpoint(out) != "";
                  }});
  trainer.run();
  CHECK(!came_back);
}

TEST_CASE("Trainer: warns of settings with which nothing is left to do", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(test::tiny_run_options(out)).trainer.run();
  SECTION("fewer steps than are done") {
    TrainerOptions fewer = paused_at(out, 0);
    fewer.steps = 5;
    Session second(fewer);
    second.trainer.resume();
    CHECK(second.trainer.run() == StopReason::finished);
    CHECK(second.trainer.state().step == 12);
    CHECK(has(second.warnings.back(), "12 steps already and 5 were asked for"));
  }
  SECTION("a pause before the step from which it goes on") {
    const std::string other = scratch / "other";
    Session(paused_at(other, 7)).trainer.run();
    Session second(paused_at(other, 5));
    second.trainer.resume();
    CHECK(second.trainer.run() == StopReason::finished);
    CHECK(has(second.warnings.front(), "is before step 7"));
  }
  SECTION("a pause after the end") {
    TrainerOptions late = paused_at(out, 13);
    late.overwrite = true;
    Session second(late);
    CHECK(second.trainer.run() == StopReason::finished);
    CHECK(has(second.warnings.back(), "will not pause"));
  }
}

TEST_CASE("Trainer: warns of a model that is no better than guessing", "[trainer]") {
  test::TinyRun run;
  // In one text every token follows itself, in the other none does.
  const std::vector<std::int32_t> train(400, 3);
  std::vector<std::int32_t> validation;
  for (int i = 0; i < 100; ++i) validation.push_back(i % 2 == 0 ? 7 : 9);
  Names warnings;
  Trainer trainer(run.model, run.optimizer, train, validation, test::tiny_run_options(""),
                  {.on_warning = [&](const std::string& text) { warnings.push_back(text); }});
  trainer.run();
  REQUIRE(trainer.state().last_loss > std::log(65.0));
  REQUIRE(warnings.size() == 1);
  CHECK(has(warnings[0], "learned nothing of use"));
  CHECK(has(warnings[0], "4.1744 nats"));
}

TEST_CASE("Trainer: warns of rows that are gone, and writes new ones", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(paused_at(out, 7)).trainer.run();
  REQUIRE(std::remove((out + "/metrics.jsonl").c_str()) == 0);
  Session second(paused_at(out, 0));
  second.trainer.resume();
  second.trainer.run();
  REQUIRE(second.warnings.size() == 1);
  CHECK(has(second.warnings[0], "metrics.jsonl' is gone"));
  CHECK(has(read_file(out + "/metrics.jsonl"), "\"step\":8"));
}

TEST_CASE("Trainer: a run that ended for want of gain does not train when it is resumed",
          "[trainer]") {
  const test::ScratchFolder scratch;
  TrainerOptions options = test::tiny_run_options(scratch / "r", 100);
  options.eval_every = 1;
  options.patience = 3;
  std::int64_t step = 0;
  for (const bool resumes : {false, true}) {
    test::TinyRun run;
    Muon optimizer(run.model, {.lr = 5, .rest = {.lr = 5}});  // the loss soon gets worse
    Trainer trainer(run.model, optimizer, run.text.train, run.text.validation, options);
    if (resumes) trainer.resume();
    CHECK(trainer.run() == StopReason::early_stopped);
    if (resumes) CHECK(trainer.state().step == step);
    step = trainer.state().step;
  }
}

TEST_CASE("Trainer: when nothing at all can be saved at the end, that is an error", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  bool blocked = false;
  test::TinyRun tiny;
  Trainer trainer(tiny.model, tiny.optimizer, tiny.text.train, tiny.text.validation,
                  paused_at(out, 5),
                  {.on_step =
                       [&](const StepRecord& row) {
                         if (row.step != 2 || blocked) return;
                         blocked = true;
                         for (const char* name : {"/last", "/last-rescue"}) {
                           Removal removal;
                           removal.add_saved(out + name, detail::manifest_file);
                           removal.go();
                           make_folders(out + name);
                           write_file(out + name + "/theirs", "x");
                         }
                       },
                   .on_warning = [](const std::string&) {}});
  CHECK(is_sentence(message_of([&] { trainer.run(); })));
  CHECK(trainer.state().step == 5);  // it went on while there was hope
  CHECK(read_file(out + "/last/theirs") == "x");
  CHECK(read_file(out + "/last-rescue/theirs") == "x");
}

TEST_CASE("Trainer: rows that cannot be read do not stop a resume and are kept", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  const std::string path = out + "/metrics.jsonl";
  for (const std::string junk :
       {"\n", "no json\n", "{\"step\":\"x\"}\n", "{\"kind\":\"train\"", "\x01\xff\n"}) {
    {
      Session first(overwriting(out));
      first.trainer.run();
    }
    const std::string rows = read_file(path);
    write_file(path, rows + junk);
    Session second(test::tiny_run_options(out, 14));
    second.trainer.resume();
    second.trainer.run();
    REQUIRE(second.warnings.size() == 1);
    CHECK(has(second.warnings[0], "1 rows"));
    CHECK(read_file(path).substr(0, rows.size()) == rows);
    CHECK(read_file(path).size() > rows.size());
    CHECK(has(read_file(path + ".unreadable"), junk.substr(0, junk.size() - 1)));
    REQUIRE(std::remove((path + ".unreadable").c_str()) == 0);
  }
}

TEST_CASE("Trainer: rows that cannot be opened at all do not stop a resume", "[trainer]") {
  const test::ScratchFolder scratch;
  const std::string out = scratch / "r";
  Session(paused_at(out, 5)).trainer.run();
  REQUIRE(std::remove((out + "/metrics.jsonl").c_str()) == 0);
  make_folders(out + "/metrics.jsonl/deep");
  Session second(paused_at(out, 0));
  second.trainer.resume();
  second.trainer.run();
  CHECK((second.run.state() == undisturbed()));
  REQUIRE(second.warnings.size() == 1);
  CHECK(has(second.warnings[0], "metrics.jsonl"));
}
