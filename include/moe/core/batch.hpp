#pragma once
#include <cstddef>
#include <cstdint>
#include <moe/core/error.hpp>
#include <span>
#include <string>

namespace moe {

/// `sequences` windows of `length` tokens each, one after the other. targets[i] is the token that
/// follows tokens[i]. Without targets a pass gives logits and no loss. This is a view: it is valid
/// until its source is sampled again or destroyed.
struct Batch {
  const std::int32_t* tokens = nullptr;
  const std::int32_t* targets = nullptr;
  int sequences = 0;
  int length = 0;

  /// Sequences that lie one after the other in `text`, each token's target the next one of the
  /// text: `text` has one token more than the batch.
  /// Errors: moe::Error when what is left without that token is not `sequences` of one length.
  /// Test: tests/core/batch.cpp.
  ///
  ///     const std::int32_t text[] = {3, 1, 4, 1, 5, 9, 2};
  ///     model.forward(moe::Batch::next_token(text));  // one sequence of 6 tokens
  static Batch next_token(std::span<const std::int32_t> text, int sequences = 1) {
    const std::size_t n = text.empty() ? 0 : text.size() - 1;
    if (sequences < 1 || n < 1 || n % std::size_t(sequences) != 0)
      throw Error("cannot make ", sequences, " sequences of ", text.size(),
                  " tokens: they must be sequences * length + 1; give another number of them");
    return {text.data(), text.data() + 1, sequences, int(n / std::size_t(sequences))};
  }
};

}  // namespace moe
