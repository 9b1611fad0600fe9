#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <moe/core/error.hpp>
#include <moe_lab/common.hpp>
#include <moe_lab/output.hpp>
#include <moe_lab/signals.hpp>
#include <moe_lab/strict_options.hpp>
#include <new>
#include <string>
#include <vector>

// What the command lines of the laboratory's programs share.

namespace lab {

/// A wrong command line: exit code 2, where other errors give 1.
struct UsageError : moe::Error {
  using moe::Error::Error;
};

/// Parses the command line, runs the program, and turns what is thrown into a sentence and an exit
/// code: 1 for errors, 2 for a wrong command line, 130 after a signal. Output that could not be
/// written is an error, too.   Test: tests/programs/output.py, tests/programs/limits.py.
///
///     int main(int argc, char** argv) {
///       CLI::App app("Counts.", "count");
///       return lab::run_program(argc, argv, app, [] { return count(); });
///     }
inline int run_program(int argc, char** argv, CLI::App& app, const std::function<int()>& run) {
  signals::install();
  read_strictly(app);
  const auto say = [](const char* sentence) { std::fprintf(stderr, "%s\n", sentence); };
  try {
    app.parse(argc, argv);
    return finish_output(run());
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return finish_output(app.exit(error));
    std::fprintf(stderr, "moe: %s; see %s --help\n", error.what(), app.get_name().c_str());
    return 2;
  } catch (const UsageError& error) {
    say(error.what());
    return 2;
  } catch (const Stopped&) {
    std::printf("stopped and saved; go on with the same command and --resume\n");
    return finish_output(signals::exit_code);
  } catch (const moe::Error& error) {
    say(error.what());
  } catch (const std::bad_alloc&) {
    say("moe: the memory is not enough: use a smaller batch or preset");
  }
  return finish_output(1);
}

/// --data. `otherwise`: what is read without it.
inline CLI::Option* add_data_option(CLI::App& app, std::string& data,
                                    const std::string& otherwise) {
  return app.add_option("--data", data,
                        "Text: a file, a pipe, or - for standard input; default: " + otherwise);
}

/// Where the text comes from and how it becomes tokens.
inline void add_text_options(CLI::App& app, Common& c, const std::string& otherwise) {
  add_data_option(app, c.data, otherwise);
  app.add_option("--vocabulary", c.vocabulary, "Folder with vocab.json and merges.txt of GPT-2");
  app.add_option("--tokenizer", c.tokenizer,
                 "Folder with a tokenizer.json, such as SmolLM's; all of its tokens are used");
  app.add_option("--stories", c.stories, "Only so many documents of the text; default: all")
      ->check(CLI::Range(1, 1 << 30));
}

inline void add_threads_option(CLI::App& app, int& threads) {
  app.add_option("--threads", threads, "Threads; 0: all cores")->check(CLI::NonNegativeNumber);
}

/// Where a run goes, how it begins and how it is shown. `folder`: the default of --out.
inline void add_run_options(CLI::App& app, Common& c, const std::string& folder) {
  app.add_option("--out", c.out, "Folder of the results; default: " + folder);
  add_threads_option(app, c.threads);
  app.add_flag("--resume", c.resume, "Go on with what is in --out");
  app.add_flag("--overwrite", c.overwrite, "Replace what is in --out");
  app.add_flag("--replace-default", c.replace_default,
               "Replace what is in the default folder, but nothing in one that --out names");
  app.add_flag("--dry-run", c.dry_run, "Only print the plan");
  app.add_flag("--progress,!--no-progress", c.progress, "A progress bar, or lines; default: yes");
}

inline void add_plot_options(CLI::App& app, Common& c) {
  CLI::Option* plots = app.add_flag("--plots", c.plots,
                                    "Draw plots at the end, and fail where that is not possible");
  app.add_flag("--no-plots", c.no_plots, "Draw none; default: draw them where that is possible")
      ->excludes(plots);
}

/// Checks the options against each other and sets common.out to `folder` if --out is not given.
/// Errors: --resume with --overwrite.
inline void settle(Common& c, const std::string& folder) {
  if (c.resume && c.overwrite)
    throw UsageError("--resume goes on with a run and --overwrite deletes it: choose one");
  if (!c.out.empty()) return;
  c.out = folder;
  c.overwrite = c.overwrite || (c.replace_default && !c.resume && !c.dry_run);
}

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

/// The command that repeats the experiment and replaces its results.
inline std::string again(const Common& common) {
  const std::string without = " --resume";
  std::string line = common.command;
  if (const std::size_t at = (line + " ").find(without + " "); at != line.npos)
    line.erase(at, without.size());
  return common.overwrite ? line : line + " --overwrite";
}

/// As above, for an experiment whose results go to `folder` unless --out names another one.
inline int run_program(int argc, char** argv, CLI::App& app, Common& common,
                       const std::string& folder, const std::function<int()>& run) {
  return run_program(argc, argv, app, [&] {
    settle(common, folder);
    common.command = command_line(argc, argv);
    common.program = app.get_name();
    return run();
  });
}

/// Numbers as in "0.005,0.01,0.02".
inline std::vector<double> numbers(const std::string& text, const char* flag) {
  std::vector<double> list;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    const double x = std::strtod(word.c_str(), nullptr);
    if (!objection_to_number("FLOAT", word).empty() || !(x > 0) || x > 1e3)
      throw moe::Error("cannot use '", text, "' as ", flag, ": '", word,
                       "' is not a rate above 0 and at most 1000; give numbers like "
                       "0.005,0.01,0.02");
    if (std::find(list.begin(), list.end(), x) == list.end()) list.push_back(x);
    begin = end + 1;
  }
  return list;
}

}  // namespace lab
