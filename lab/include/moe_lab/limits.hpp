#pragma once
#include <algorithm>
#include <moe/core/error.hpp>
#include <moe_lab/data.hpp>
#include <moe_lab/settings.hpp>

// Checks of what a run is asked for, made before anything is trained.

namespace lab {

/// The tokens of the largest pass, in training or evaluation.
/// Errors: more tokens than one batch can have.
inline std::int64_t batch_tokens(const Settings& s) {
  const std::int64_t tokens =
      std::max(std::int64_t(s.batch) * s.length, std::int64_t(s.eval_length));
  if (tokens > 1 << 28)
    throw moe::Error("cannot train on batches of ", tokens,
                     " tokens: at most 268435456 fit; use a smaller --batch and --accumulation");
  return tokens;
}

/// Errors: sequences longer than the context of the model.
inline void check_lengths(const Settings& s, int context) {
  const auto check = [&](const char* flag, int length) {
    if (length > context)
      throw moe::Error("cannot use ", flag, " ", length, ": the context of the model is ", context,
                       " tokens; use a shorter one");
  };
  check("--length", s.length);
  check("--eval-length", s.eval_length);
}

/// All checks, for a model of this context and the text that it is to be trained on.
inline void check_sizes(const Settings& s, int context, const Data& data) {
  batch_tokens(s);
  check_lengths(s, context);
  const int window = s.eval_length > 0 ? s.eval_length : s.length;
  if (s.eval_tokens > 0 && s.eval_tokens < window)
    throw moe::Error("cannot evaluate on ", s.eval_tokens,
                     " tokens (--eval-tokens): a window of the evaluation has ", window,
                     "; use more, or a smaller --eval-length");
  data.check_size(s.length, window, ", or use a smaller --length");
}

}  // namespace lab
