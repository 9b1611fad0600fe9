#pragma once
#include <moe_lab/settings.hpp>

// The settings that the programs of the laboratory start from, before options change them.

namespace lab {

/// The numbers of the documents that docs/reproduction.md compares with; warm-up and decay count
/// updates. Their balance loss is summed over the layers with experts, ours is a mean: 0.06 here is
/// their 0.01 for six layers.
inline const Settings paper_settings{.model = "paper",
                                     .steps = 5000,
                                     .batch = 24,
                                     .length = 512,
                                     .accumulation = 4,
                                     .balance_weight = 0.06,
                                     .eval_every = 125};
/// A mixture of the same kind with a third of the width and four layers: two minutes on two cores.
inline const Settings small_settings{.model = "small",
                                     .steps = 300,
                                     .batch = 16,
                                     .length = 128,
                                     .accumulation = 2,
                                     .muon_lr = 0.04,
                                     .adamw_lr = 3e-3,
                                     .beta2 = 0.99,
                                     .balance_weight = 0.04,
                                     .eval_every = 60};
/// For tests and a first look: takes seconds.
inline const Settings tiny_settings{.model = "tiny",
                                    .steps = 100,
                                    .batch = 8,
                                    .length = 64,
                                    .muon_lr = 0.02,
                                    .adamw_lr = 3e-3,
                                    .beta2 = 0.99,
                                    .balance_weight = 0.02,
                                    .eval_every = 25};

}  // namespace lab
