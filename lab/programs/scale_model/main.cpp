// Finds the mixture of experts that a budget pays for: its size, data, memory, time and expected
// loss, on one kind of device or on all known ones.  scale_model --help tells the options.
#include <moe_lab/cli.hpp>
#include <optional>

#include "emit.hpp"

namespace scale {
namespace {

struct Options {
  Request request = {};
  std::string gpu = "h100", emit = {};
  std::optional<int> top_k;
  std::optional<double> price, peak_tflops, memory_gb;
  std::optional<double> law_e, law_a, law_b, law_alpha, law_beta;
  bool compare = false, json = false, force = false;
};

void declare(CLI::App& app, Options& o) {
  Request& r = o.request;
  app.add_option("--budget", r.budget, "Dollars to spend")->required();
  app.add_option("--gpu", o.gpu, "a100, h100 (default), h200, b200 or cpu");
  app.add_flag("--compare", o.compare, "Also a table of all devices, the least loss first");
  app.add_option("--gpus", r.gpus, "How many devices, taken to scale perfectly; default 1");
  app.add_option("--price", o.price, "Dollars an hour of one device");
  app.add_option("--peak-tflops", o.peak_tflops, "Its peak, 1e12 operations a second");
  app.add_option("--memory-gb", o.memory_gb, "Its memory, 1e9 bytes");
  auto* mfu = app.add_option("--mfu", r.mfu, "Share of the peak that training reaches, of all");
  app.add_option("--tokens-per-second", r.tokens_per_second,
                 "Measured speed of one device on about this model, instead of an MFU")
      ->excludes(mfu);
  app.add_option("--dim", r.dim, "Width of the model, a multiple of 64; default: the best");
  app.add_option("--experts", r.experts, "Experts of a layer, 0: a dense model; default 8");
  app.add_option("--top-k", o.top_k, "Experts that a token passes through; default 2");
  app.add_option("--context", r.context, "Tokens of a sequence; default 512");
  app.add_option("--vocab", r.vocab, "Size of the vocabulary; default 49152");
  app.add_option("--batch-tokens", r.batch_tokens, "Of one update; default: about 4 sqrt(tokens)");
  app.add_option("--sequences", r.sequences, "Of one pass; default: what fits, up to 16384 tokens");
  app.add_option("--muon-lr", r.muon_lr, "Peak learning rate of hidden matrices; default 0.02");
  app.add_option("--adamw-lr", r.adamw_lr, "Of all other parameters; default 0.003");
  app.add_option("--bytes-weight", r.bytes.weight, "Bytes of a parameter; default 4");
  app.add_option("--bytes-gradient", r.bytes.gradient, "Of a gradient; default 4");
  app.add_option("--bytes-state", r.bytes.state, "Of a moment of the optimizer; default 4");
  app.add_option("--bytes-activation", r.bytes.activation, "Of an activation; default 4");
  app.add_option("--law-e", o.law_e, "L = e + a / N^alpha + b / D^beta; default 1.8172");
  app.add_option("--law-a", o.law_a, "default 482.01");
  app.add_option("--law-b", o.law_b, "default 2085.43");
  app.add_option("--law-alpha", o.law_alpha, "default 0.3478");
  app.add_option("--law-beta", o.law_beta, "default 0.3658");
  auto* emit = app.add_option("--emit", o.emit, "Write the plan as a C++ header to this file");
  app.add_flag("--force", o.force, "Also over a file with another content")->needs(emit);
  app.add_flag("--json", o.json, "Print JSON instead of text");
}

/// Puts the figures that options override into the request.
void resolve(Options& o) {
  Request& r = o.request;
  r.device = find_device(o.gpu);
  if (o.top_k && r.experts == 0)
    throw moe::Error("cannot use --top-k with --experts 0: a dense model has none to choose");
  if (o.top_k) r.top_k = *o.top_k;
  if (o.price) r.device.price = *o.price;
  if (o.peak_tflops) r.device.peak = *o.peak_tflops * 1e12;
  if (o.memory_gb) r.device.memory = *o.memory_gb * 1e9;
  const auto set = [&](double& to, const std::optional<double>& from) {
    if (!from) return;
    to = *from;
    r.own_law = true;
    r.law.name = "yours";
  };
  set(r.law.e, o.law_e), set(r.law.a, o.law_a), set(r.law.b, o.law_b);
  set(r.law.alpha, o.law_alpha), set(r.law.beta, o.law_beta);
  check(r);
}

int run(Options& o, const std::string& command) {
  try {
    resolve(o);
  } catch (const moe::Error& error) {
    throw lab::UsageError(error.sentence());
  }
  const Plan plan = make_plan(o.request);
  std::vector<Offer> offers;
  if (o.compare) offers = compare(o.request);
  if (!o.emit.empty()) write_header(o.emit, header(plan, o.request, command), o.force);
  if (o.json) {
    moe::Json json;
    json["command"] = command, json["budget"] = o.request.budget;
    json["law"] = to_json(o.request.law);
    json["plan"] = to_json(plan);
    if (o.compare) json["compare"] = to_json(offers);
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  std::fputs(describe(plan, o.request.budget).c_str(), stdout);
  if (o.compare) std::printf("\n%s", describe(offers).c_str());
  if (!o.emit.empty()) std::printf("written to %s\n", o.emit.c_str());
  return 0;
}

}  // namespace
}  // namespace scale

int main(int argc, char** argv) {
  CLI::App app("The mixture of experts that a budget pays for.", "scale_model");
  scale::Options options;
  scale::declare(app, options);
  return lab::run_program(argc, argv, app,
                          [&] { return scale::run(options, lab::command_line(argc, argv)); });
}
