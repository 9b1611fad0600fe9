// Trains a dense model on short stories, grows it into a mixture of experts without changing what
// it computes, trains on, and compares with what the same work would have brought without growing.
// upcycle --help tells the options.
#include <CLI/CLI.hpp>
#include <moe/core/error.hpp>
#include <moe_lab/names.hpp>
#include <moe_lab/output.hpp>
#include <moe_lab/signals.hpp>
#include <moe_lab/strict_options.hpp>
#include <new>
#include <optional>

#include "program.hpp"

namespace growth {
namespace {

struct Entry {
  const char *preset, *architecture;
  const Settings* settings;
  int seeds;
  Program (*program)();
};
const Entry entries[] = {{"tiny", "simple", &tiny_settings, 3, tiny_simple_program},
                         {"tiny", "smollm", &tiny_settings, 3, tiny_smollm_program},
                         {"small", "simple", &small_settings, 1, small_simple_program},
                         {"small", "smollm", &small_settings, 1, small_smollm_program},
                         {"paper", "simple", &paper_settings, 1, paper_simple_program},
                         {"paper", "smollm", &paper_settings, 1, paper_smollm_program}};

int run(int argc, char** argv) {
  CLI::App app(
      "Grows a dense language model into a mixture of experts and measures what it brings.",
      "upcycle");
  Request request;
  std::string preset = "tiny", architecture = "simple";
  std::optional<std::string> recipe, router, optimizer_state;
  std::optional<int> steps1, steps2, batch, warmup, eval_every, seeds;
  std::optional<double> lr1, lr2, final_rate, decay, dropout, balance, router_std, noise, drop;
  std::optional<std::uint64_t> seed;
  bool no_progress = false, no_controls = false;
  const auto positive = CLI::Range(1, 1 << 28);  // controls may take several times as many
  const auto rate = CLI::Range(0.0, 1e3);
  app.add_option("--preset", preset, "tiny (default), small or paper")
      ->check(CLI::IsMember({"tiny", "small", "paper"}));
  app.add_option("--arch", architecture,
                 "simple: LayerNorm, GELU, biases (default); smollm: RMSNorm, SwiGLU")
      ->check(CLI::IsMember({"simple", "smollm"}));
  app.add_option("--recipe", recipe, "copy (default), noise, permute, drop, virtual_groups, shared")
      ->check(CLI::IsMember(lab::names_of<moe::Recipe>()));
  app.add_option("--router", router, "How the router starts: normal (default), zero, orthogonal")
      ->check(CLI::IsMember(lab::names_of<moe::RouterStart>()));
  app.add_option("--router-std", router_std, "Standard deviation of its weights")->check(rate);
  app.add_option("--noise", noise, "Recipe noise: deviation in root mean squares of a matrix")
      ->check(rate);
  app.add_option("--drop", drop, "Recipe drop: share of the hidden units")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--optimizer-state", optimizer_state, "Of the mixture: fresh (default) or copied")
      ->check(CLI::IsMember({"fresh", "copied"}));
  app.add_option("--steps1", steps1, "Updates of the dense model")->check(positive);
  app.add_option("--steps2", steps2, "Updates of the mixture")->check(positive);
  app.add_option("--batch", batch, "Sequences of one update")->check(CLI::Range(1, 1 << 16));
  app.add_option("--lr1", lr1, "Peak learning rate of phase 1")->check(rate);
  app.add_option("--lr2", lr2, "Peak learning rate of phase 2")->check(rate);
  app.add_option("--warmup", warmup, "Updates of warm-up, in every phase")
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("--final-rate", final_rate, "Share of the peak at the end")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--weight-decay", decay, "Of AdamW, on matrices")->check(rate);
  app.add_option("--dropout", dropout, "On attention and inside experts")
      ->check(CLI::Range(0.0, 0.99));
  app.add_option("--balance", balance, "Weight of the balance loss")->check(rate);
  app.add_option("--eval-every", eval_every, "Updates between evaluations")->check(positive);
  app.add_option("--seed", seed, "First seed")->check(CLI::NonNegativeNumber);
  app.add_option("--seeds", seeds, "How many, one after the other; default: 3 (tiny) or 1")
      ->check(CLI::Range(1, 1000));
  app.add_option("--data", request.data, "Text file; default: TinyStories");
  app.add_option("--vocabulary", request.vocabulary,
                 "Folder with vocab.json and merges.txt of GPT-2");
  app.add_option("--tokenizer", request.tokenizer,
                 "Folder with a tokenizer.json, such as SmolLM's; all of its tokens are used");
  app.add_option("--stories", request.stories, "Only so many stories of the text; default: all")
      ->check(positive);
  app.add_option("--log-every", request.log_every,
                 "Updates between training rows of metrics.jsonl; default: 10")
      ->check(positive);
  app.add_option("--out", request.out, "Folder of the results; default: runs/upcycle-PRESET");
  app.add_option("--sample-tokens", request.sample_tokens, "Tokens of each greedy sample")
      ->check(positive);
  app.add_option("--threads", request.threads, "Threads; 0: all cores")->check(CLI::Range(0, 4096));
  app.add_flag("--no-controls", no_controls, "Leave out the runs to compare with");
  app.add_flag("--resume", request.resume, "Go on with the experiment in --out");
  app.add_flag("--overwrite", request.overwrite, "Replace the experiment in --out");
  app.add_flag("--dry-run", request.dry_run, "Only print the plan");
  app.add_flag("--no-progress", no_progress, "No progress bar or lines");
  read_strictly(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "moe: %s; see upcycle --help\n", error.what());
    return 2;
  }
  request.progress = !no_progress;
  request.controls = !no_controls;
  if (request.resume && request.overwrite) {
    std::fprintf(stderr,
                 "moe: --resume goes on with a run and --overwrite deletes it: choose one\n");
    return 2;
  }
  if (request.out.empty()) request.out = "runs/upcycle-" + preset;
  for (const Entry& entry : entries) {
    if (entry.preset != preset || entry.architecture != architecture) continue;
    Settings& s = request.settings = *entry.settings;
    const auto set = [](auto& to, const auto& from) {
      if (from) to = *from;
    };
    s.architecture = architecture;
    set(s.recipe, recipe), set(s.router, router), set(s.optimizer_state, optimizer_state);
    set(s.phase1_steps, steps1), set(s.phase2_steps, steps2), set(s.batch, batch);
    set(s.phase1_lr, lr1), set(s.phase2_lr, lr2), set(s.final_rate, final_rate);
    set(s.warmup, warmup), set(s.eval_every, eval_every), set(s.weight_decay, decay);
    set(s.dropout, dropout), set(s.balance_weight, balance), set(s.router_std, router_std);
    set(s.noise, noise), set(s.drop, drop), set(s.seed, seed);
    const auto needs = [](const auto& given, const char* flag, bool used, const std::string& what) {
      if (given && !used)
        throw moe::Error("cannot use " + std::string(flag) + " here: it is for " + what +
                         "; leave it out, or choose that");
    };
    needs(noise, "--noise", s.recipe == "noise", "--recipe noise");
    needs(drop, "--drop", s.recipe == "drop", "--recipe drop");
    needs(router_std, "--router-std", s.router != "zero", "--router normal or orthogonal");
    request.seeds = seeds.value_or(entry.seeds);
    return entry.program()(request);
  }
  return 2;
}

}  // namespace
}  // namespace growth

int main(int argc, char** argv) {
  signals::install();
  try {
    return lab::finish_output(growth::run(argc, argv));
  } catch (const moe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "moe: the memory is not enough: use a smaller batch or preset\n");
  }
  return lab::finish_output(1);
}
