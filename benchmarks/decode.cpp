// decode: generation with a batch of sequences, in tokens a second. Its share of the measured read
// bandwidth counts the weights, keys and values that a token has to read. prefill: reading of the
// prompts, in tokens a second and as a share of the FMA peak.  Names: decode/MODEL/TYPE/batch,
// prefill/MODEL/TYPE/batch. TYPE is f32, or bf16: activations and weights in bfloat16.
#include <cmath>
#include <moe/model/flops.hpp>

#include "measure.hpp"
#include "models/model.hpp"

namespace {

/// Bytes that must be read to generate one token for each of `batch` sequences with `keys` tokens
/// in their windows. A number has `number` bytes, in a router 4. Of the experts, those count that
/// `batch` tokens choose under uniform routing. Source: b (L (4 d^2 + 2 f d k c) + V d) + 4 L d E +
/// 2 L d b keys, c = 1, or 1.5 when gated.
double bytes_of_token(const moe::ModelConfig& c, int batch, double keys, double number) {
  const double d = c.dim, experts = c.moe.experts,
               kv = double(c.kv_heads_or_default()) * c.head_dim();
  const double chosen = experts * (1 - std::pow(1 - c.moe.top_k / experts, batch));
  const double matrices = moe::is_gated(c.activation) ? 3 : 2;
  const double layer = 2 * d * d + 2 * d * kv + matrices * chosen * d * c.expert_hidden();
  return number * (c.layers * layer + d * c.vocab) + 4 * c.layers * d * experts +
         2 * c.layers * kv * number * keys * batch;
}

/// What is measured: a model, the type of its activations and weights, and the request.
struct Subject {
  const bench::Case* which;
  bool narrow;
  int batch, threads;

  const moe::ModelConfig& config() const { return which->model; }
  std::string place() const {
    return std::string(which->name) + (narrow ? "/bf16" : "/f32") +
           "/batch:" + std::to_string(batch) + "/threads:" + std::to_string(threads);
  }
};

/// The model for a benchmark. The last one is kept, because making a model takes longer than
/// measuring it.
bench::Model& model(const Subject& s) {
  static std::unique_ptr<bench::Model> net;
  static std::string key;
  if (key != s.place()) {
    net.reset();
    net = bench::models()
              .at({s.which->name, s.narrow ? "inference-bf16" : "cpu-f32"})
              .second({s.batch, s.config().context / 2, s.threads, ""});
    key = s.place();
  }
  return *net;
}

void decode(benchmark::State& state, const Subject& s) {
  bench::Model& net = model(s);
  const double bytes =
      bytes_of_token(s.config(), s.batch, 0.75 * s.config().context, s.narrow ? 2 : 4);
  net.prefill();
  const double rate = bench::measure(
      state, bytes, bench::read_speed(s.threads, double(net.parameter_bytes())),
      [&] { net.decode(); },
      [&] {
        if (net.window() == s.config().context) net.prefill();
      });
  state.counters["tokens/s"] = s.batch * rate * 1e9 / bytes;
  state.counters["MB/token"] = bytes * 1e-6 / s.batch;
}

void prefill(benchmark::State& state, const Subject& s) {
  bench::Model& net = model(s);
  const int length = s.config().context / 2;
  const moe::TokenFlops flops = moe::token_flops(s.config(), length);
  const double each = (flops.forward() - flops.head) * s.batch * length;
  const double rate =
      bench::measure(state, each, bench::fma_peak(s.threads), [&] { net.prefill(); });
  state.counters["tokens/s"] = s.batch * length * rate * 1e9 / each;
}

}  // namespace

int main(int argc, char** argv) {
  for (const bench::Case* which : {&bench::demo, &bench::shakespeare, &bench::tinystories})
    for (const bool narrow : {false, true})
      for (const int batch : {1, 4, 16})
        for (const int threads : bench::thread_counts()) {
          const Subject subject{which, narrow, batch, threads};
          using Work = void (*)(benchmark::State&, const Subject&);
          for (const auto& [name, work] : {std::pair<const char*, Work>{"decode/", decode},
                                           std::pair<const char*, Work>{"prefill/", prefill}})
            benchmark::RegisterBenchmark(
                (name + subject.place()).c_str(),
                [subject, run = work](benchmark::State& state) { run(state, subject); })
                ->UseManualTime()
                ->Unit(benchmark::kMicrosecond);
        }
  return bench::run(argc, argv);
}
