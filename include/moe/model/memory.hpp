#pragma once
#include <cstddef>
#include <moe/core/format.hpp>
#include <moe/core/isa.hpp>
#include <string>

namespace moe::inline MOE_ISA {

/// Bytes of a model by what they hold, from types alone: nothing has been allocated.
struct ModelMemory {
  std::size_t params = 0, grads = 0, cache = 0, scratch = 0;
  std::size_t optimizer = 0;   // its state; 0 for a model that is not trained
  std::size_t workspaces = 0;  // of the backend's threads; 0 where the backend has none

  std::size_t total() const { return params + grads + cache + scratch + optimizer + workspaces; }
};

/// Bytes that a backend with so many threads takes for itself beside a model.
template <class Model>
std::size_t workspace_bytes([[maybe_unused]] int threads) {
  using B = typename Model::Backend;
  if constexpr (requires { B::workspace_bytes(threads, Model::attention_shape()); })
    return B::workspace_bytes(threads, Model::attention_shape());
  return 0;
}

/// What a model takes for batches of so many tokens.   Test: tests/model/memory.cpp.
template <class Model>
ModelMemory model_memory(int tokens, int threads = 1) {
  const auto memory = Model::memory(tokens);
  return {.params = memory.params,
          .grads = memory.grads,
          .cache = memory.cache,
          .scratch = memory.scratch,
          .workspaces = workspace_bytes<Model>(threads)};
}

/// What a model takes together with its optimizer.   Test: tests/model/memory.cpp.
///
///     const auto memory = moe::training_memory<Model, moe::Muon<Model>>(16 * 256);
///     std::puts(moe::describe(memory).c_str());
template <class Model, class Optimizer>
ModelMemory training_memory(int tokens, int threads = 1) {
  ModelMemory memory = model_memory<Model>(tokens, threads);
  memory.optimizer = Optimizer::bytes_needed();
  return memory;
}

/// Bytes as "12.3 MB" (1 MB = 1e6 bytes).
inline std::string megabytes(std::size_t bytes) {
  return detail::format("%.1f MB", double(bytes) / 1e6);
}

/// "12.3 MB = parameters 1.0 + gradients 1.0 + cache 8.0 + scratch 0.3 + optimizer 2.0 + threads
/// 0.0".
inline std::string describe(const ModelMemory& memory) {
  const auto mb = [](std::size_t bytes) { return double(bytes) / 1e6; };
  return detail::format(
      "%.1f MB = parameters %.1f + gradients %.1f + cache %.1f + scratch %.1f + optimizer %.1f + "
      "threads %.1f",
      mb(memory.total()), mb(memory.params), mb(memory.grads), mb(memory.cache), mb(memory.scratch),
      mb(memory.optimizer), mb(memory.workspaces));
}

}  // namespace moe
