#pragma once
#include <chrono>
#include <limits>
#include <moe/backend/backend.hpp>
#include <moe/model/flops.hpp>
#include <moe/model/memory.hpp>
#include <moe/model/parameters.hpp>
#include <moe/optim/muon.hpp>
#include <moe_lab/format.hpp>
#include <string>

namespace lab {

/// What a run will need, computed from types alone, without allocating a model.
struct Plan {
  moe::ParameterCount parameters;
  moe::ModelMemory memory;
  moe::TokenFlops flops;
  int batch_tokens = 0;
  /// Assumed efficiency of a whole step: its FLOP/s divided by those of a large matrix product.
  /// Measured on two Sapphire Rapids cores: 0.75 with AdamW (preset full), 0.4 with Muon (preset
  /// demo), whose own products are not counted as work.
  double efficiency = 0.75;
};

/// The plan of training `Model` with `Optimizer` on batches of sequences * length tokens.
/// Test: tests/lab/plan.cpp.
///
///     const auto plan = lab::make_plan<Model, moe::Muon<Model>>(16, 256);
///     std::puts(lab::describe(plan).c_str());
template <class Model, class Optimizer>
Plan make_plan(int sequences, int length, int threads = 1) {
  MOE_EXPECTS(
      sequences >= 1 && length >= 1 && sequences <= std::numeric_limits<int>::max() / length,
      "a plan was asked for ", sequences, " sequences of ", length, " tokens");
  const int tokens = sequences * length;
  return {moe::parameter_count<Model>(), moe::training_memory<Model, Optimizer>(tokens, threads),
          moe::token_flops(Model::config, length), tokens,
          Optimizer::template has<moe::MuonRule> ? 0.4 : 0.75};
}

/// Measures the rate of a matrix product (m, k) x (k, n) for about `seconds`, in 1e9 operations a
/// second.
template <moe::Backend B>
double probe_gflops(B& be, int m, int n, int k, double seconds = 1) {
  if (m < 1 || n < 1 || k < 1 || !(seconds >= 0 && seconds <= 3600))
    throw moe::Error("cannot measure a product of ", m, " x ", n, " x ", k, " for ", seconds,
                     " s: sizes must be 1 or more and the time at most an hour; correct them");
  using T = moe::Value<B>;
  using Clock = std::chrono::steady_clock;
  const auto bytes = [](int rows, int cols) {
    return std::size_t(rows) * std::size_t(cols) * sizeof(T);
  };
  moe::Arena<B> a(be, bytes(m, k)), b(be, bytes(k, n)), c(be, bytes(m, n));
  const moe::Matrix<const T> left{reinterpret_cast<const T*>(a.data()), k};
  const moe::Matrix<const T> right{reinterpret_cast<const T*>(b.data()), n};
  const auto multiply = [&] { be.gemm(m, n, k, left, right, reinterpret_cast<T*>(c.data()), n); };
  multiply();  // the first one touches the memory
  be.synchronize();
  const auto start = Clock::now();
  double passed = 0;
  int rounds = 0;
  do {
    multiply();
    be.synchronize();
    ++rounds;
    passed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (passed < seconds);
  return 2e-9 * m * n * k * rounds / passed;
}

/// The rate of a product of the size that one has in this model: of 1024 tokens with a matrix of a
/// feed-forward, measured for some hundredths of a second.   Units: as above.
template <moe::ModelConfig C, class Backend>
double product_gflops(int threads) {
  Backend backend(threads);
  constexpr int hidden = C.moe.experts > 0 ? C.expert_hidden() : C.dense_hidden();
  return probe_gflops(backend, 1024, hidden, C.dim, 0.03);
}

/// The plan as lines of text.
inline std::string describe(const Plan& plan) {
  const moe::TokenFlops& f = plan.flops;
  return format("parameters   total %zu, active %zu, embedding %zu\n", plan.parameters.total,
                plan.parameters.active, plan.parameters.embedding) +
         "peak memory  " + moe::describe(plan.memory) +
         format("\nwork         %.3f MFLOP a token (forward %.3f, backward %.3f)\n",
                f.training() * 1e-6, f.forward() * 1e-6, f.backward() * 1e-6);
}

/// Predicts speed and time for `steps` updates of `tokens` each, if a probe measured `gflops`.
inline std::string predict(const Plan& plan, double gflops, std::int64_t steps,
                           std::int64_t tokens) {
  const double speed = plan.efficiency * gflops * 1e9 / plan.flops.training();
  return format(
      "prediction   %.0f tokens/s, %.0f s for %lld steps of %lld tokens (a probe of one second: "
      "products run at %.0f GFLOP/s; assumed: a step at %.0f %% of that)\n",
      speed, double(steps) * double(tokens) / speed, (long long)steps, (long long)tokens, gflops,
      100 * plan.efficiency);
}

/// The plan as text, with a prediction from a probe of this machine. `check` throws moe::Error if
/// the plan does not fit here. That is only a warning, as the plan may be for another machine, and
/// then nothing is probed.
template <moe::Backend B, class Check>
std::string describe_with_speed(const Plan& plan, B& be, int dim, std::int64_t steps,
                                std::int64_t tokens, const Check& check) {
  try {
    check();
  } catch (const moe::Error& error) {
    return describe(plan) + "warning      " + error.what() + "\n";
  }
  return describe(plan) +
         predict(plan, probe_gflops(be, plan.batch_tokens, dim, dim), steps, tokens);
}

}  // namespace lab
