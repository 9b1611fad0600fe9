// One training step of a model: tokens a second, the rate of the operations that training needs
// (include/moe/model/flops.hpp), and its share of the peak that is measured beside each step.
// --config measures one model and can write a JSON file. Without it the Shakespeare model is
// measured by Google Benchmark.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <moe/io/files.hpp>
#include <moe/io/json.hpp>
#include <moe/model/flops.hpp>

#include "measure.hpp"
#include "models/model.hpp"

namespace {

struct Command {
  std::string config = {}, backend = "cpu-f32", optimizer = {}, json = {};
  int batch = 0, length = 0, threads = 0, accumulate = 1, repetitions = 5;
};

struct Result {
  double tokens_per_second = 0, gflops = 0, fma_peak_gflops = 0, share_of_peak = 0;
  bench::PartSeconds parts{};
};

const std::pair<const bench::Case*, bench::MakeModel>& find_model(const std::string& config,
                                                                  const std::string& backend) {
  const auto found = bench::models().find({config, backend});
  if (found != bench::models().end()) return found->second;
  std::string known;
  for (const auto& [name, model] : bench::models())
    known += (known.empty() ? "" : ", ") + name.first + " on " + name.second;
  throw moe::Error("cannot measure the model '", config, "' on the backend '", backend,
                   "': this program was built with ", known, "; choose one of these");
}

double step_gflop(const bench::Case& model, int batch, int length) {
  return moe::token_flops(model.model, length).training() * batch * length * 1e-9;
}

/// Medians of `repetitions` steps, and then of as many passes that are timed by part. A step is
/// `accumulate` passes and an update; only one pass is run, and its time is multiplied.
Result run(const Command& c, const bench::Case& model, bench::Model& net) {
  const bool narrow = c.backend == "cpu-bf16";
  const bench::Limit peak = narrow ? bench::bf16_peak(c.threads) : bench::fma_peak(c.threads);
  const double gflop = c.accumulate * step_gflop(model, c.batch, c.length);
  std::vector<double> steps, updates, shares, peaks{peak.measure()};
  net.pass();
  net.update();
  for (int i = 0; i < c.repetitions; ++i) {
    const auto start = bench::Clock::now();
    net.pass();
    const double pass = bench::seconds_since(start);
    net.update();
    updates.push_back(bench::seconds_since(start) - pass);
    steps.push_back(c.accumulate * pass + updates.back());
    peaks.push_back(peak.measure());
    const double beside = (peaks[peaks.size() - 2] + peaks.back()) / 2;
    shares.push_back(gflop / steps.back() / beside);
  }
  std::vector<bench::PartSeconds> passes;
  passes.reserve(std::size_t(c.repetitions));
  for (int i = 0; i < c.repetitions; ++i) passes.push_back(net.pass_by_part());
  Result r;
  r.tokens_per_second = double(c.accumulate) * c.batch * c.length / bench::median(steps);
  r.gflops = gflop / bench::median(steps);
  r.fma_peak_gflops = moe::fma_peak_gflops(bench::backend(c.threads), 0.1);
  r.share_of_peak = bench::median(shares);
  for (std::size_t part = 0; part < bench::part_count; ++part) {
    std::vector<double> one;
    one.reserve(passes.size());
    for (const bench::PartSeconds& pass : passes) one.push_back(c.accumulate * pass[part]);
    r.parts[part] = bench::median(one);
  }
  r.parts[std::size_t(bench::Part::optimizer)] += bench::median(updates);
  return r;
}

double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) * 1024;
}

void report(const Command& c, const bench::Model& net, const Result& r) {
  double whole = 0;
  for (const double seconds : r.parts) whole += seconds;
  const double bytes = peak_bytes(), minimal = net.minimal_bytes();
  std::printf(
      "%s, %s, %d x %d x %d tokens, %s, threads %d: %.0f tokens/s, %.1f GFLOP/s, "
      "%.1f %% of the peak beside it\n",
      c.config.c_str(), c.backend.c_str(), c.accumulate, c.batch, c.length, c.optimizer.c_str(),
      c.threads, r.tokens_per_second, r.gflops, 100 * r.share_of_peak);
  std::printf("FMA peak %.1f GFLOP/s; %.0f MB of memory at most, %.2f times the least\n",
              r.fma_peak_gflops, bytes * 1e-6, bytes / minimal);
  for (std::size_t part = 0; part < bench::part_count; ++part)
    std::printf("  %-10s %8.1f ms %5.1f %%\n", bench::part_names[part], 1e3 * r.parts[part],
                100 * r.parts[part] / whole);
  if (c.json.empty()) return;
  moe::Json json;
  json["config"] = c.config;
  json["backend"] = c.backend;
  json["optimizer"] = c.optimizer;
  json["batch"] = c.batch;
  json["length"] = c.length;
  json["accumulate"] = c.accumulate;
  json["threads"] = c.threads;
  json["repetitions"] = c.repetitions;
  json["parameters"] = net.parameters();
  json["tokens_per_second"] = r.tokens_per_second;
  json["gflops"] = r.gflops;
  json["fma_peak_gflops"] = r.fma_peak_gflops;
  json["share_of_peak"] = r.share_of_peak;
  json["peak_bytes"] = bytes;
  json["minimal_bytes"] = minimal;
  for (std::size_t part = 0; part < bench::part_count; ++part)
    json["seconds"][bench::part_names[part]] = r.parts[part];
  moe::write_file(c.json, json.dump(2) + "\n");
}

int measure_one(Command c) {
  const auto& [model, make] = find_model(c.config, c.backend);
  if (c.batch == 0) c.batch = model->batch;
  if (c.length == 0) c.length = model->length;
  if (c.length > model->model.context)
    throw moe::Error("cannot measure '", c.config, "' on sequences of ", c.length,
                     " tokens: its context is ", model->model.context, "; give a smaller --seq");
  if (c.threads == 0) c.threads = moe::detail::available_threads();
  if (c.optimizer.empty()) c.optimizer = model->muon ? "muon" : "adamw";
  const auto net = make({c.batch, c.length, c.threads, c.optimizer});
  report(c, *net, run(c, *model, *net));
  return 0;
}

void shakespeare_step(benchmark::State& state, int threads) {
  const auto& [model, make] = find_model("shakespeare", "cpu-f32");
  const auto net = make({model->batch, model->length, threads, "adamw"});
  const double flops = 1e9 * step_gflop(*model, model->batch, model->length);
  const double rate = bench::measure(state, flops, bench::fma_peak(threads), [&] {
    net->pass();
    net->update();
  });
  state.counters["tokens/s"] = rate * 1e9 / flops * model->batch * model->length;
}

}  // namespace

int main(int argc, char** argv) try {
  bench::add("step/shakespeare", shakespeare_step);
  benchmark::Initialize(&argc, argv);
  Command c;
  CLI::App app{
      "Measures one training step. Without --config: the Shakespeare model on one and on "
      "all threads, with the options of Google Benchmark."};
  app.add_option("--config", c.config, "shakespeare, nanogpt, simple, tinystories or demo");
  app.add_option("--backend", c.backend, "cpu-f32 or cpu-bf16")->capture_default_str();
  app.add_option("--batch", c.batch, "sequences [of the config]")->check(CLI::PositiveNumber);
  app.add_option("--seq", c.length, "tokens of a sequence [of the config]")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", c.threads, "threads [all]")->check(CLI::PositiveNumber);
  app.add_option("--accumulate", c.accumulate, "batches of one update")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--repetitions", c.repetitions, "steps")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--optimizer", c.optimizer, "adamw or muon [of the config]")
      ->check(CLI::IsMember({"adamw", "muon"}));
  app.add_option("--json", c.json, "file for the results");
  CLI11_PARSE(app, argc, argv);
  if (!c.config.empty()) return measure_one(c);
  bench::print_machine();
  benchmark::RunSpecifiedBenchmarks();
} catch (const moe::Error& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
