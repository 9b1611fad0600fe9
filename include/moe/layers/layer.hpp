#pragma once
#include <concepts>
#include <cstdint>
#include <moe/backend/backend.hpp>
#include <moe/core/options.hpp>
#include <moe/core/random.hpp>

namespace moe::inline MOE_ISA {

/// Everything a layer needs to know about the current call. Only `layer` changes from layer to
/// layer.
struct Pass {
  const Options* options;
  int length;     // tokens of each sequence
  int start = 0;  // position of each sequence's first token
  bool training = false;
  // The number of the step, which selects the random streams, is step + *step_in_memory. A backend
  // that repeats a recorded step (repeats_steps) counts in its memory, others leave it null.
  std::uint64_t step = 0;
  const std::uint64_t* step_in_memory = nullptr;
  int layer = 0;
  int moe_layers = 1;     // each auxiliary loss is averaged over them
  double loss_scale = 1;  // of backward: 1 / number of accumulated batches

  /// The dropout of a site in this layer. Off outside training.
  Dropout dropout(double rate, RandomStream site) const {
    return {training ? rate : 0, options->seed, stream(step, std::uint32_t(layer), site),
            step_in_memory};
  }
};

/// A layer has no state: it is three aggregates and two functions. Params live as long as the
/// model, Cache from forward to backward, Scratch during one call. Forward writes y and Cache;
/// backward adds to dx and grad. The layers of the library have a last argument `add`: with false
/// they overwrite dx, which saves setting it to zero first.
template <class L, class B>
concept Layer = Backend<B> &&
    requires(B& be, const Pass& pass, typename L::Params& params, typename L::Cache& cache,
             typename L::Scratch& scratch, Rows<const Value<B>, L::in> x, Rows<Value<B>, L::out> y,
             Rows<const Value<B>, L::out> dy, Rows<Value<B>, L::in> dx) {
  L::forward(be, pass, params, x, y, cache, scratch);
  L::backward(be, pass, params, x, cache, dy, dx, params, scratch);
};

/// Set rows to zero, and copy rows.
template <Backend B, class T, int Cols, int PerToken>
void zero(B& be, Rows<T, Cols, PerToken> x) {
  be.zero(x.data, std::size_t(x.count) * Cols * sizeof(T));
}
template <Backend B, class T, int Cols, int PerToken>
void copy(B& be, Rows<T, Cols, PerToken> to, Rows<const T, Cols, PerToken> from) {
  be.copy(to.data, from.data, std::size_t(from.count) * Cols * sizeof(T));
}

}  // namespace moe
