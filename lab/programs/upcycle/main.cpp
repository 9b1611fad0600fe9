// Trains a dense model on short stories, grows it into a mixture of experts (that computes the
// same, with most recipes), trains on, and compares the result with what the same work gives
// without growing. upcycle --help tells the options.
#include <moe_lab/cli.hpp>
#include <moe_lab/compiled.hpp>
#include <moe_lab/knobs.hpp>
#include <optional>

#include "program.hpp"

namespace growth {
namespace {

/// Errors: options for another recipe or router than the chosen one.
void check(const lab::Knobs<Settings>& knobs, const Settings& s) {
  const auto needs = [&](const char* flag, bool used, const std::string& what) {
    if (!used) knobs.refuse({flag}, "it is for " + what + "; leave it out, or choose that");
  };
  needs("--noise", s.recipe == "noise", "--recipe noise");
  needs("--drop", s.recipe == "drop", "--recipe drop");
  needs("--router-std", s.router != "zero", "--router normal or orthogonal");
}

int run(Request& request, const lab::Knobs<Settings>& knobs, const std::string& preset,
        const std::string& architecture, std::optional<int> seeds) {
  Settings& s = request.settings;
  s = preset == "tiny" ? tiny_settings : preset == "small" ? small_settings : paper_settings;
  s.architecture = architecture;
  knobs.apply(s);
  check(knobs, s);
  request.seeds = seeds.value_or(preset == "tiny" ? 3 : 1);
  lab::settle(request.common, "runs/upcycle-" + preset);
  const std::string model = preset + " " + architecture;
  lab::settle_precision<Model>(s.precision, request.common, lab::precision_begun(request.common),
                               {model});
  return lab::get_compiled<Model>(lab::variant(model, s.precision)).run(request);
}

}  // namespace
}  // namespace growth

int main(int argc, char** argv) {
  CLI::App app(
      "Grows a dense language model into a mixture of experts and measures what it brings.",
      "upcycle");
  growth::Request request;
  std::string preset = "tiny", architecture = "simple";
  std::optional<int> seeds;
  bool no_controls = false;
  const auto positive = CLI::Range(1, 1 << 28);
  app.add_option("--preset", preset, "tiny (default), small or paper")
      ->check(CLI::IsMember({"tiny", "small", "paper"}));
  app.add_option("--arch", architecture,
                 "simple: LayerNorm, GELU, biases (default); smollm: RMSNorm, SwiGLU")
      ->check(CLI::IsMember({"simple", "smollm"}));
  const lab::Knobs<growth::Settings> knobs(app);
  app.add_option("--seeds", seeds, "How many, one after the other; default: 3 (tiny) or 1")
      ->check(CLI::Range(1, 1000));
  app.add_option("--log-every", request.log_every,
                 "Updates between training rows of metrics.jsonl; default: 10")
      ->check(positive);
  app.add_option("--sample-tokens", request.sample_tokens, "Tokens of each greedy sample")
      ->check(positive);
  app.add_flag("--no-controls", no_controls, "Leave out the runs to compare with");
  lab::add_text_options(app, request.common, "TinyStories");
  lab::add_run_options(app, request.common, "runs/upcycle-PRESET");
  return lab::run_program(argc, argv, app, [&] {
    request.controls = !no_controls;
    return growth::run(request, knobs, preset, architecture, seeds);
  });
}
