#pragma once
#include <cstdint>

namespace moe {

/// `sequences` windows of `length` tokens each, one after the other. targets[i] is the token that
/// follows tokens[i]. Without targets a pass gives logits and no loss. This is a view: it is valid
/// until its source is sampled again or destroyed.
struct Batch {
  const std::int32_t* tokens = nullptr;
  const std::int32_t* targets = nullptr;
  int sequences = 0;
  int length = 0;
};

}  // namespace moe
