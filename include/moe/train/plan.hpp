#pragma once
#include <chrono>
#include <cstdio>
#include <limits>
#include <moe/backend/backend.hpp>
#include <moe/model/flops.hpp>
#include <moe/model/parameters.hpp>
#include <moe/optim/muon.hpp>
#include <string>

namespace moe {

/// What a run will need, computed from types alone, without allocating the model.
struct Plan {
  ParameterCount parameters;
  std::size_t params = 0, grads = 0, cache = 0, scratch = 0, optimizer = 0;  // bytes
  std::size_t workspaces = 0;  // bytes of the threads; 0 if the backend has none
  TokenFlops flops;
  int batch_tokens = 0;
  /// Assumed step efficiency: FLOP/s of a step divided by the FLOP/s of a large gemm. Measured on
  /// two Sapphire Rapids cores: 0.75 with AdamW (preset full), 0.4 with Muon (preset demo), whose
  /// own products do not count as work.
  double efficiency = 0.75;

  std::size_t peak_bytes() const {
    return params + grads + cache + scratch + optimizer + workspaces;
  }
};

/// The bytes that a backend with this many threads needs for itself, beside a model.
template <class Model>
std::size_t workspace_bytes([[maybe_unused]] int threads) {
  using B = typename Model::Backend;
  if constexpr (requires { B::workspace_bytes(threads, Model::attention_shape()); })
    return B::workspace_bytes(threads, Model::attention_shape());
  return 0;
}

/// The plan for training `Model` with `Optimizer` on batches of sequences * length tokens.
/// Test: tests/train/plan.cpp.
///
///     const auto plan = moe::make_plan<Model, moe::Muon<Model>>(16, 256);
///     std::puts(moe::describe(plan).c_str());
template <class Model, class Optimizer>
Plan make_plan(int sequences, int length, int threads = 1) {
  MOE_EXPECTS(
      sequences >= 1 && length >= 1 && sequences <= std::numeric_limits<int>::max() / length,
      "a plan was asked for " + std::to_string(sequences) + " sequences of " +
          std::to_string(length) + " tokens");
  const int tokens = sequences * length;
  const auto memory = Model::memory(tokens);
  return {parameter_count<Model>(),
          memory.params,
          memory.grads,
          memory.cache,
          memory.scratch,
          Optimizer::bytes_needed(),
          workspace_bytes<Model>(threads),
          token_flops(Model::config, length),
          tokens,
          Optimizer::template has<MuonRule> ? 0.4 : 0.75};
}

/// The rate of one matrix product (m, k) x (k, n), measured for about `seconds`, in 1e9 operations
/// per second.
template <Backend B>
double probe_gflops(B& be, int m, int n, int k, double seconds = 1) {
  if (m < 1 || n < 1 || k < 1 || !(seconds >= 0 && seconds <= 3600))
    throw Error("cannot measure a product of " + std::to_string(m) + " x " + std::to_string(n) +
                " x " + std::to_string(k) + " for " + std::to_string(seconds) +
                " s: sizes must be 1 or more and the time at most an hour; correct them");
  using T = Scalar<B>;
  using Clock = std::chrono::steady_clock;
  const auto bytes = [](int rows, int cols) {
    return std::size_t(rows) * std::size_t(cols) * sizeof(T);
  };
  Arena<B> a(be, bytes(m, k)), b(be, bytes(k, n)), c(be, bytes(m, n));
  const Matrix<const T> left{reinterpret_cast<const T*>(a.data()), k};
  const Matrix<const T> right{reinterpret_cast<const T*>(b.data()), n};
  const auto multiply = [&] { be.gemm(m, n, k, left, right, reinterpret_cast<T*>(c.data()), n); };
  multiply();  // the first call touches the memory
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

/// Bytes as "12.3 MB" (1 MB = 1e6 bytes).
inline std::string megabytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", double(bytes) * 1e-6);
  return text;
}

/// The plan as lines of text.
inline std::string describe(const Plan& plan) {
  const auto line = [](const char* format, auto... values) {
    char text[200];
    std::snprintf(text, sizeof text, format, values...);
    return std::string(text) + "\n";
  };
  const TokenFlops& f = plan.flops;
  const auto mb = [](std::size_t bytes) { return double(bytes) * 1e-6; };
  return line("parameters   total %zu, active %zu, embedding %zu", plan.parameters.total,
              plan.parameters.active, plan.parameters.embedding) +
         line(
             "peak memory  %.1f MB = parameters %.1f + gradients %.1f + cache %.1f + scratch %.1f "
             "+ optimiser %.1f + threads %.1f",
             mb(plan.peak_bytes()), mb(plan.params), mb(plan.grads), mb(plan.cache),
             mb(plan.scratch), mb(plan.optimizer), mb(plan.workspaces)) +
         line("work         %.3f MFLOP a token (forward %.3f, backward %.3f)", f.training() * 1e-6,
              f.forward() * 1e-6, f.backward() * 1e-6);
}

/// The speed and time that a probe of `gflops` predicts for `steps` updates of `tokens` tokens
/// each.
inline std::string predict(const Plan& plan, double gflops, std::int64_t steps,
                           std::int64_t tokens) {
  const double speed = plan.efficiency * gflops * 1e9 / plan.flops.training();
  char text[300];
  std::snprintf(text, sizeof text,
                "prediction   %.0f tokens/s, %.0f s for %lld steps of %lld tokens (a probe of one "
                "second: products run at %.0f GFLOP/s; assumed: a step at %.0f %% of that)\n",
                speed, double(steps) * double(tokens) / speed, (long long)steps, (long long)tokens,
                gflops, 100 * plan.efficiency);
  return text;
}

}  // namespace moe
