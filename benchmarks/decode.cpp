// decode: generation with a batch of sequences, in tokens a second. Its share of the measured read
// bandwidth counts the weights, keys and values that a token has to read. prefill: reading of the
// prompts, in tokens a second and as a share of the FMA peak.  Names: decode/MODEL/batch,
// prefill/MODEL/batch.
#include <cmath>
#include <moe/model/flops.hpp>

#include "measure.hpp"
#include "models/model.hpp"

namespace {

/// Bytes that must be read to generate one token for each of `batch` sequences with `keys` tokens
/// in their windows. Of the experts, those count that `batch` tokens choose under uniform routing.
/// Source: b (L (4 d^2 + 2 f d k c) + V d) + 4 L d E + 2 L d b keys, c = 1, or 1.5 when gated.
double bytes_of_token(const moe::ModelConfig& c, int batch, double keys, double number = 4) {
  const double d = c.dim, experts = c.moe.experts,
               kv = double(c.kv_heads_or_default()) * c.head_dim();
  const double chosen = experts * (1 - std::pow(1 - c.moe.top_k / experts, batch));
  const double matrices = moe::is_gated(c.activation) ? 3 : 2;
  const double layer = 2 * d * d + 2 * d * kv + matrices * chosen * d * c.expert_hidden();
  return number * (c.layers * layer + d * c.vocab) + 4 * c.layers * d * experts +
         2 * c.layers * kv * number * keys * batch;
}

/// The model for a benchmark. The last one is kept, because making a model takes longer than
/// measuring it.
bench::Model& model(const bench::Case& which, int batch, int threads) {
  static std::unique_ptr<bench::Model> net;
  static std::string key;
  const std::string wanted =
      std::string(which.name) + "/" + std::to_string(batch) + "/" + std::to_string(threads);
  if (key != wanted) {
    net.reset();
    net = bench::models()
              .at({which.name, "cpu-f32"})
              .second({batch, which.model.context / 2, threads, ""});
    key = wanted;
  }
  return *net;
}

void decode(benchmark::State& state, const bench::Case& which, int batch, int threads) {
  bench::Model& net = model(which, batch, threads);
  const double bytes = bytes_of_token(which.model, batch, 0.75 * which.model.context);
  net.prefill();
  const double rate = bench::measure(
      state, bytes, bench::read_speed(threads, double(net.parameter_bytes())),
      [&] { net.decode(); },
      [&] {
        if (net.window() == which.model.context) net.prefill();
      });
  state.counters["tokens/s"] = batch * rate * 1e9 / bytes;
  state.counters["MB/token"] = bytes * 1e-6 / batch;
}

void prefill(benchmark::State& state, const bench::Case& which, int batch, int threads) {
  bench::Model& net = model(which, batch, threads);
  const int length = which.model.context / 2;
  const moe::TokenFlops flops = moe::token_flops(which.model, length);
  const double each = (flops.forward() - flops.head) * batch * length;
  const double rate = bench::measure(state, each, bench::fma_peak(threads), [&] { net.prefill(); });
  state.counters["tokens/s"] = batch * length * rate * 1e9 / each;
}

}  // namespace

int main(int argc, char** argv) {
  for (const bench::Case* which : {&bench::demo, &bench::shakespeare, &bench::tinystories})
    for (const int batch : {1, 4, 16})
      for (const int threads : bench::thread_counts()) {
        const std::string place = std::string("/") + which->name +
                                  "/batch:" + std::to_string(batch) +
                                  "/threads:" + std::to_string(threads);
        using Work = void (*)(benchmark::State&, const bench::Case&, int, int);
        for (const auto& [name, work] : {std::pair<const char*, Work>{"decode", decode},
                                         std::pair<const char*, Work>{"prefill", prefill}})
          benchmark::RegisterBenchmark(
              (name + place).c_str(),
              [=, run = work](benchmark::State& state) { run(state, *which, batch, threads); })
              ->UseManualTime()
              ->Unit(benchmark::kMicrosecond);
      }
  return bench::run(argc, argv);
}
