#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "program.hpp"

// The options of `train` that replace a preset's or a checkpoint's value. Those of the document
// that this program reproduces are accepted in its spelling, too.

namespace shakespeare {

/// A wrong command line: exit code 2, where moe::Error gives 1.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class T>
void at_least(const char* option, T value, T least) {
  if (value >= least) return;
  const auto text = [](T x) {
    std::string s = std::to_string(x);
    if (s.find('.') != std::string::npos)
      s.erase(std::max(s.find_last_not_of('0'), s.find('.') + 1) + 1);
    return s;
  };
  throw UsageError(std::string("moe: cannot use ") + option + " " + text(value) + ": it must be " +
                   text(least) + " or more; correct the command");
}
inline void within_one(const char* option, double value, bool one_allowed) {
  if (value >= 0 && (value < 1 || (one_allowed && value == 1))) return;
  throw UsageError(std::string("moe: cannot use ") + option + " " + std::to_string(value) +
                   ": it must be from 0 to " + (one_allowed ? "1" : "below 1") +
                   "; correct the command");
}

/// The sizes of a model are compiled in; those that are given choose among the presets.
struct Sizes {
  struct Size {
    const char *flag, *document;
    double (*of)(const moe::ModelConfig&);
    std::optional<double> wanted = {};
  };
  std::vector<Size> all = {
      {"--context", "--seq_len", [](const moe::ModelConfig& c) { return double(c.context); }},
      {"--dim", "--model_dim", [](const moe::ModelConfig& c) { return double(c.dim); }},
      {"--heads", "--n_head", [](const moe::ModelConfig& c) { return double(c.heads); }},
      {"--layers", "--n_layer", [](const moe::ModelConfig& c) { return double(c.layers); }},
      {"--experts", "--moe_experts",
       [](const moe::ModelConfig& c) { return double(c.moe.experts); }},
      {"--top-k", "--topk",
       [](const moe::ModelConfig& c) { return c.moe.experts > 0 ? double(c.moe.top_k) : 0; }},
      {"--hidden-mult", "--moe_hidden_mult", [](const moe::ModelConfig& c) {
         return double(c.moe.experts > 0 ? c.expert_hidden() : c.dense_hidden()) / c.dim;
       }}};

  void add_to(CLI::App& app) {
    for (Size& size : all) {
      app.add_option(std::string(size.flag) + "," + size.document, size.wanted,
                     "Size of the model: chooses the preset that has it");
    }
  }
  bool given() const {
    return std::any_of(all.begin(), all.end(), [](const Size& s) { return s.wanted.has_value(); });
  }
  /// The first size that a model does not have, or null.
  const Size* missing_in(const moe::ModelConfig& config) const {
    for (const Size& size : all)
      if (size.wanted && *size.wanted != size.of(config)) return &size;
    return nullptr;
  }
};

/// The preset of a name.
inline Preset preset_named(const std::string& name) {
  std::string names;
  for (const Preset& preset : presets()) {
    if (preset.defaults.preset == name) return preset;
    names += (names.empty() ? "" : ", ") + preset.defaults.preset;
  }
  throw UsageError("moe: there is no preset '" + name + "': choose one of " + names);
}

/// The options that were given.
struct Changes {
  std::optional<std::string> preset, optimizer;
  std::optional<int> steps, batch, warmup, eval_every, sample_every;
  std::optional<double> lr, dropout, balance, z, entropy;
  std::optional<std::uint64_t> seed;
  Sizes sizes;

  void add_to(CLI::App& app) {
    app.add_option("--preset", preset, "demo (default), quick, document, full or nanogpt");
    app.add_option("--steps,--max_steps", steps, "Updates");
    app.add_option("--batch,--batch_size", batch, "Sequences of one update");
    app.add_option("--lr", lr, "Peak learning rate of the optimizer");
    app.add_option("--warmup,--warmup_steps", warmup, "Updates until the peak rate");
    app.add_option("--optimizer", optimizer, "muon or adamw");
    app.add_option("--dropout", dropout, "Dropout rate, 0 to below 1");
    app.add_option("--balance,--lb_weight", balance, "Weight of the balance loss");
    app.add_option("--z-loss,--zloss_weight", z, "Weight of the z-loss of the router");
    app.add_option("--entropy,--entropy_weight", entropy, "Weight of the router's entropy bonus");
    app.add_option("--seed", seed, "Seed of initial values, batches and dropout");
    app.add_option("--eval-every", eval_every, "Steps between evaluations");
    app.add_option("--sample-every", sample_every,
                   "Steps between samples of text, printed and kept in OUT/samples.jsonl; 0: none");
    sizes.add_to(app);
  }

  void apply(Settings& s) const {
    const auto set = [](auto& to, const auto& from) {
      if (from) to = *from;
    };
    set(s.steps, steps);
    set(s.batch, batch);
    set(s.optimizer, optimizer);
    set(s.optimizer == "muon" ? s.muon_lr : s.adamw_lr, lr);
    set(s.warmup, warmup);
    set(s.dropout, dropout);
    set(s.balance_weight, balance);
    set(s.z_weight, z);
    set(s.entropy_weight, entropy);
    set(s.seed, seed);
    set(s.eval_every, eval_every);
    set(s.sample_every, sample_every);
    check(s);
  }

  /// The preset that was named, or the first one that has the sizes that were given.
  /// Errors: there is none.
  Preset chosen() const {
    const auto refuse = [](const Sizes::Size& size, const std::string& by, double has) {
      const auto text = [](double x) {
        char digits[32];
        std::snprintf(digits, sizeof digits, "%g", x);
        return std::string(digits);
      };
      const std::string have = has < 0 ? "" : " is compiled with " + text(has);
      throw UsageError("moe: cannot use " + std::string(size.flag) + " (" + size.document + ") " +
                       text(*size.wanted) + ": " + by + have +
                       "; leave it out, or have another model built: ./dev simple_moe --help");
    };
    if (preset) {
      const Preset named = preset_named(*preset);
      const moe::ModelConfig config = named.characters().config;
      if (const auto* size = sizes.missing_in(config))
        refuse(*size, "preset " + *preset, size->of(config));
      return named;
    }
    if (!sizes.given()) return presets().front();
    const Sizes::Size* last = nullptr;
    for (const Preset& each : presets()) {
      const auto* size = sizes.missing_in(each.characters().config);
      if (!size) {
        std::fprintf(stderr, "note: these sizes are those of preset %s\n",
                     each.defaults.preset.c_str());
        return each;
      }
      last = size;
    }
    refuse(*last, "no preset has these sizes together", -1);
    return {};
  }

 private:
  static void check(const Settings& s) {
    at_least("--steps", s.steps, 1);
    at_least("--batch", s.batch, 1);
    at_least("--warmup", s.warmup, 0);
    at_least("--eval-every", s.eval_every, 1);
    at_least("--sample-every", s.sample_every, 0);
    for (const auto& [flag, value] : {std::pair{"--lr", std::min(s.muon_lr, s.adamw_lr)},
                                      {"--balance", s.balance_weight},
                                      {"--z-loss", s.z_weight},
                                      {"--entropy", s.entropy_weight}})
      at_least(flag, std::isfinite(value) ? value : -1.0, 0.0);
    within_one("--dropout", s.dropout, false);
    if (s.batch > (1 << 20)) {
      throw UsageError("moe: cannot use --batch " + std::to_string(s.batch) +
                       ": it must be 1048576 or less; correct the command");
    }
    if (s.optimizer != "muon" && s.optimizer != "adamw") {
      throw UsageError("moe: there is no optimizer '" + s.optimizer + "': choose muon or adamw");
    }
  }
};

}  // namespace shakespeare
