#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <moe_lab/cli.hpp>
#include <moe_lab/format.hpp>
#include <moe_lab/knobs.hpp>
#include <optional>

#include "program.hpp"

// The options of `train` that replace a preset's or a checkpoint's value. The spellings of the
// document that this program reproduces are accepted, too.

namespace shakespeare {

using lab::UsageError;

template <class T>
void at_least(const char* option, T value, T least) {
  if (value >= least) return;
  const auto text = [](T x) {
    std::string s = std::to_string(x);
    if (s.find('.') != std::string::npos)
      s.erase(std::max(s.find_last_not_of('0'), s.find('.') + 1) + 1);
    return s;
  };
  throw UsageError("cannot use ", option, " ", text(value), ": it must be ", text(least),
                   " or more; correct the command");
}
inline void within_one(const char* option, double value, bool one_allowed) {
  if (value >= 0 && (value < 1 || (one_allowed && value == 1))) return;
  throw UsageError("cannot use ", option, " ", value, ": it must be from 0 to ",
                   (one_allowed ? "1" : "below 1"), "; correct the command");
}

/// The sizes of a model are compiled in. Options that give sizes choose the preset that has them.
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

/// The preset of this name. Errors: there is none.
inline Preset preset_named(const std::string& name) {
  std::string names;
  for (const Preset& preset : presets()) {
    if (preset.defaults.preset == name) return preset;
    names += (names.empty() ? "" : ", ") + preset.defaults.preset;
  }
  throw UsageError("there is no preset '", name, "': choose one of ", names);
}

/// The options that the user gave.
struct Changes {
  std::optional<std::string> preset;
  std::optional<double> lr;
  lab::Knobs<Settings> knobs;
  Sizes sizes;

  explicit Changes(CLI::App& app) : knobs(app) {
    app.add_option("--preset", preset, "demo (default), quick, document, full or nanogpt");
    app.add_option("--lr", lr, "Peak learning rate of the optimizer");
    sizes.add_to(app);
  }
  Changes(const Changes&) = delete;

  void apply(Settings& s) const {
    knobs.apply(s);
    if (lr) (s.optimizer == "muon" ? s.muon_lr : s.adamw_lr) = *lr;
    check(s);
  }

  /// The preset `name`, or the first one that has the sizes that were given.
  /// Errors: the named preset has other sizes, or no preset has them.
  Preset chosen(const std::optional<std::string>& name) const {
    const auto refuse = [](const Sizes::Size& size, const std::string& by, double has) {
      const auto text = [](double x) { return lab::format("%g", x); };
      const std::string have = has < 0 ? "" : " is compiled with " + text(has);
      throw UsageError("cannot use ", size.flag, " (", size.document, ") ", text(*size.wanted),
                       ": ", by, have,
                       "; leave it out, or have another model built: ./dev simple_moe --help");
    };
    if (name) {
      Preset named = preset_named(*name);
      const moe::ModelConfig config = named.config();
      if (const auto* size = sizes.missing_in(config))
        refuse(*size, "preset " + *name, size->of(config));
      return named;
    }
    if (!sizes.given()) return presets().front();
    const Sizes::Size* last = nullptr;
    for (const Preset& each : presets()) {
      const auto* size = sizes.missing_in(each.config());
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
      throw UsageError("cannot use --batch ", s.batch,
                       ": it must be 1048576 or less; correct the command");
    }
    if (s.optimizer != "muon" && s.optimizer != "adamw") {
      throw UsageError("there is no optimizer '", s.optimizer, "': choose muon or adamw");
    }
  }
};

}  // namespace shakespeare
