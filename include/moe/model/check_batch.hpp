#pragma once
#include <cstdint>
#include <moe/core/batch.hpp>
#include <moe/core/config.hpp>
#include <moe/core/error.hpp>
#include <string>

namespace moe::inline MOE_ISA::detail {

inline void check_tokens(const char* what, const std::int32_t* from, int n, int vocab) {
  for (int i = 0; i < n; ++i)
    if (from[i] < 0 || from[i] >= vocab)
      throw Error(what, " ", from[i], " at place ", i,
                  " of the batch is outside the vocabulary of ", vocab,
                  "; encode the text with the model's own vocabulary");
}

/// Refuses what a pass cannot compute.
/// Errors: moe::Error for a batch that a model of this configuration, built for `max_tokens`,
/// cannot compute.
inline void check_batch(const Batch& batch, const ModelConfig& c, int max_tokens) {
  const auto refuse = [&](const std::string& why) {
    throw Error("cannot read a batch of ", batch.sequences, " sequences of ", batch.length,
                " tokens: ", why);
  };
  if (batch.sequences < 1 || batch.length < 1) refuse("both must be 1 or more; correct the sizes");
  if (batch.length > c.context)
    refuse("the context of the model is " + std::to_string(c.context) + "; use shorter ones");
  if (std::int64_t(batch.sequences) * batch.length > max_tokens)
    refuse("the model was built for " + std::to_string(max_tokens) +
           " tokens; raise Options.batch or Options.max_tokens, or use a smaller batch");
  if (!batch.tokens) refuse("it has no tokens (a null pointer); set Batch.tokens");
  const int n = batch.sequences * batch.length;
  check_tokens("token", batch.tokens, n, c.vocab);
  if (batch.targets) check_tokens("target", batch.targets, n, c.vocab);
}

}  // namespace moe::detail
