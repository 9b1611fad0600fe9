#pragma once
#include <cstdint>
#include <moe/core/batch.hpp>
#include <moe/core/config.hpp>

namespace moe::test {

/// Two sequences of a model's context, always the same.
template <ModelConfig C>
struct Text {
  static constexpr int tokens = 2 * C.context;
  std::int32_t data[tokens + 1];
  Text() {
    for (int i = 0; i <= tokens; ++i) data[i] = (i * i + 7 * i / 3) % C.vocab;
  }
  Batch batch() const { return {data, data + 1, 2, C.context}; }
};

}  // namespace moe::test
