#pragma once
#include <cstdint>

namespace moe {

/// `sequences` windows of `length` tokens each, row after row; targets[i] is the token that
/// follows tokens[i]; without targets a pass gives logits and no loss. A view: valid until the
/// source is sampled again or dies.
struct Batch {
  const std::int32_t* tokens = nullptr;
  const std::int32_t* targets = nullptr;
  int sequences = 0;
  int length = 0;
};

}  // namespace moe
