#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <moe/core/error.hpp>
#include <moe_lab/output.hpp>
#include <moe_lab/run.hpp>
#include <moe_lab/signals.hpp>
#include <moe_lab/strict_options.hpp>
#include <new>
#include <optional>
#include <tuple>

// What the command lines of the laboratory share. Included by one file of a program.

namespace lab {

/// Options of every program that trains.
struct Common {
  std::string out = {}, data = {}, vocabulary = {}, command = {}, program = {};
  int threads = 0;
  std::string tokenizer = {};
  int stories = 0;
  bool resume = false, overwrite = false, dry_run = false, progress = true;
  bool plots = false, no_plots = false;  // neither: drawn where that is possible
};

inline void add_common(CLI::App& app, Common& c, const std::string& out) {
  c.out = out;
  app.add_option("--out", c.out, "Folder of the results; default: " + out);
  app.add_option("--data", c.data, "Text file; default: Tiny Shakespeare or TinyStories");
  app.add_option("--vocabulary", c.vocabulary, "Folder with vocab.json and merges.txt of GPT-2");
  app.add_option("--tokenizer", c.tokenizer,
                 "Folder with a tokenizer.json, such as SmolLM's; all of its tokens are used");
  app.add_option("--stories", c.stories, "Only so many documents of the text; default: all")
      ->check(CLI::Range(1, 1 << 30));
  app.add_option("--threads", c.threads, "Threads; 0: all cores")->check(CLI::Range(0, 4096));
  app.add_flag("--resume", c.resume, "Go on with what is in --out");
  app.add_flag("--overwrite", c.overwrite, "Replace what is in --out");
  app.add_flag("--dry-run", c.dry_run,
               "Only print the plan (another structure: only write its header)");
  app.add_flag("--progress,!--no-progress", c.progress, "A progress bar, or lines; default: yes");
  CLI::Option* plots = app.add_flag("--plots", c.plots,
                                    "Draw plots at the end, and fail where that is not possible");
  app.add_flag("--no-plots", c.no_plots, "Draw none; default: draw them where that is possible")
      ->excludes(plots);
}

/// The settings that were given, over those of a preset.
class Knobs {
 public:
  explicit Knobs(CLI::App& app) {
    for_each_knob([&](const char* flag, auto member, const auto&... rest) {
      CLI::Option* option =
          app.add_option(flag, given_.*member, std::get<sizeof...(rest) - 1>(std::tie(rest...)));
      if constexpr (sizeof...(rest) == 3) {
        const auto [least, most, help] = std::tie(rest...);
        option->check(CLI::Range(double(least), double(most)));
      } else {
        option->check(CLI::IsMember(std::get<0>(std::tie(rest...))));
      }
      options_.push_back(option);
      setters_.push_back([this, option, member](Settings& to) {
        if (option->count() > 0) to.*member = given_.*member;
      });
    });
  }
  Knobs(const Knobs&) = delete;

  /// Errors: an option of an optimiser or a schedule that was not chosen.
  void apply(Settings& to) const {
    for (const auto& set : setters_) set(to);
    if (to.optimizer == "adamw")
      refuse({"--muon-lr", "--muon-momentum", "--muon-decay", "--nesterov", "--muon-scale",
              "--orthogonalisation"},
             "it is Muon's, and the optimizer is adamw; leave it out");
    if (to.schedule == "constant")
      refuse({"--final-rate"}, "the schedule is constant; leave it out, or choose another one");
  }

  /// For options that would have no effect.
  void refuse(const std::vector<std::string>& flags, const std::string& why) const {
    for (const CLI::Option* option : options_)
      for (const std::string& flag : flags)
        if (option->count() > 0 && option->get_name() == flag)
          throw moe::Error("cannot use " + flag + " here: " + why);
  }

 private:
  Settings given_;
  std::vector<CLI::Option*> options_;
  std::vector<std::function<void(Settings&)>> setters_;
};

/// The command as it can be typed again.
inline std::string command_line(int argc, char** argv) {
  std::string line;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    const bool plain = !word.empty() && word.find_first_not_of(
                                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789-_./=,:+") == std::string::npos;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
    line += (i > 0 ? " " : "") + (plain ? word : quoted + "'");
  }
  return line;
}

/// The command that makes the same results once more, in place of those that it left.
inline std::string again(const Common& common) {
  const std::string without = " --resume";
  std::string line = common.command;
  if (const std::size_t at = (line + " ").find(without + " "); at != line.npos)
    line.erase(at, without.size());
  return common.overwrite ? line : line + " --overwrite";
}

/// Numbers as in "0.005,0.01,0.02".
inline std::vector<double> numbers(const std::string& text, const char* flag) {
  std::vector<double> list;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    const double x = std::strtod(word.c_str(), nullptr);
    if (!objection_to_number("FLOAT", word).empty() || !(x > 0) || x > 1e3)
      throw moe::Error("cannot use '" + text + "' as " + flag + ": '" + word +
                       "' is not a rate above 0 and at most 1000; give numbers like "
                       "0.005,0.01,0.02");
    if (std::find(list.begin(), list.end(), x) == list.end()) list.push_back(x);
    begin = end + 1;
  }
  return list;
}

/// Parses, runs, and turns what is thrown into a sentence and an exit code: 1 for errors, 2 for a
/// wrong command line, 130 after a signal. What could not be printed is an error, too.
inline int run_program(int argc, char** argv, CLI::App& app, Common& common,
                       const std::function<int()>& run) {
  read_strictly(app);
  signals::install();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return finish_output(app.exit(error));
    std::fprintf(stderr, "moe: %s; see %s --help\n", error.what(), app.get_name().c_str());
    return 2;
  }
  if (common.resume && common.overwrite) {
    std::fprintf(stderr,
                 "moe: --resume goes on with a run and --overwrite deletes it: choose one\n");
    return 2;
  }
  common.command = command_line(argc, argv);
  common.program = app.get_name();
  try {
    return finish_output(run());
  } catch (const Stopped&) {
    std::printf("stopped and saved; go on with the same command and --resume\n");
    return finish_output(signals::exit_code);
  } catch (const moe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "moe: the memory is not enough: use a smaller batch or preset\n");
  }
  return finish_output(1);
}

}  // namespace lab
