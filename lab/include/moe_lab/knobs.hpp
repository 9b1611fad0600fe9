#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <moe/core/error.hpp>
#include <moe_lab/settings.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace lab {

/// The options of a program that replace a field of its settings. S::for_each_knob is the list of
/// them: it calls f(flag, field, help) for a field that takes any value, f(flag, field, names,
/// help) for one that takes one of some names, f(flag, field, least, most, help) for a number in a
/// range.
///
///     const lab::Knobs<Settings> knobs(app);
///     ... parse the command line ...
///     knobs.apply(settings);
template <class S>
class Knobs {
 public:
  explicit Knobs(CLI::App& app) {
    S::for_each_knob(
        [&](const char* flag, auto field, const auto&... rest) { add(app, flag, field, rest...); });
  }
  Knobs(const Knobs&) = delete;

  /// Replaces the settings that were given on the command line.
  void apply(S& to) const {
    for (const auto& set : setters_) set(to);
  }

  bool given(std::string_view flag) const {
    for (const CLI::Option* option : options_)
      if (option->get_name() == flag) return option->count() > 0;
    return false;
  }

  /// Errors: one of these options was given, although it would have no effect. `why` is the reason.
  void refuse(const std::vector<std::string>& flags, const std::string& why) const {
    for (const std::string& flag : flags)
      if (given(flag)) throw moe::Error("cannot use ", flag, " here: ", why);
  }

 private:
  CLI::Option* add(CLI::App& app, const char* flag, auto field, const char* help) {
    CLI::Option* const option = app.add_option(flag, given_.*field, help);
    options_.push_back(option);
    setters_.push_back([this, option, field](S& to) {
      if (option->count() > 0) to.*field = given_.*field;
    });
    return option;
  }
  void add(CLI::App& app, const char* flag, auto field, const Names& names, const char* help) {
    add(app, flag, field, help)->check(CLI::IsMember(names));
  }
  void add(CLI::App& app, const char* flag, auto field, double least, double most,
           const char* help) {
    add(app, flag, field, help)->check(CLI::Range(least, most));
  }

  S given_;
  std::vector<CLI::Option*> options_;
  std::vector<std::function<void(S&)>> setters_;
};

/// Replaces the settings of a run that were given on the command line.
/// Errors: an option of an optimizer or a schedule that was not chosen.
inline void apply(const Knobs<Settings>& knobs, Settings& to) {
  knobs.apply(to);
  if (to.optimizer == "adamw")
    knobs.refuse({"--muon-lr", "--muon-momentum", "--muon-decay", "--nesterov", "--muon-scale",
                  "--orthogonalisation"},
                 "it is Muon's, and the optimizer is adamw; leave it out");
  if (to.schedule == "constant")
    knobs.refuse({"--final-rate"}, "the schedule is constant; leave it out, or choose another one");
}

}  // namespace lab
