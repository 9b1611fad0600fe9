#pragma once
#include "../lab/models.hpp"

namespace simple_moe {

/// The sizes that the documents' model has when every part that is active is counted.
static_assert(lab::paper.dim == 384 && lab::paper.moe.experts == 8);
inline constexpr std::size_t paper_total = 79'059'840, paper_active = 36'592'512;

/// What the documents say, with rates that count updates. Their balance loss is summed over the
/// six layers, ours is a mean: 0.06 here is their 0.01.
inline const lab::Settings paper{.model = "paper",
                                 .steps = 5000,
                                 .batch = 24,
                                 .length = 512,
                                 .accumulation = 4,
                                 .balance_weight = 0.06,
                                 .eval_every = 125};
/// The same shape at a third of the width and a minute or two of two cores.
inline const lab::Settings small{.model = "small",
                                 .steps = 300,
                                 .batch = 16,
                                 .length = 128,
                                 .accumulation = 2,
                                 .muon_lr = 0.02,
                                 .adamw_lr = 3e-3,
                                 .beta2 = 0.99,
                                 .balance_weight = 0.04,
                                 .eval_every = 60};
/// For tests and a first look: seconds.
inline const lab::Settings tiny{.model = "tiny",
                                .steps = 100,
                                .batch = 8,
                                .length = 64,
                                .muon_lr = 0.02,
                                .adamw_lr = 3e-3,
                                .beta2 = 0.99,
                                .balance_weight = 0.02,
                                .eval_every = 25};

}  // namespace simple_moe
