#pragma once
#include <moe/core/config.hpp>

// The structure of the model that train_text.cpp trains and generate.cpp loads.
inline constexpr moe::ModelConfig config{.vocab = 256,  // one token per byte
                                         .dim = 128,
                                         .layers = 4,
                                         .heads = 4,
                                         .context = 128,
                                         .moe = {.experts = 8, .top_k = 2, .hidden = 256}};
