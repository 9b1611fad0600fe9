#pragma once
#include "../lab/models.hpp"

namespace dense_vs_moe {

/// llm-moe's counts, with every part that is active counted.
inline constexpr std::size_t paper_dense_total = 29'496'192, paper_moe_total = 54'278'016,
                             paper_moe_active = 33'044'352;

inline const lab::Settings paper{.model = "paper",
                                 .steps = 750,  // 3000 micro-batches
                                 .batch = 24,
                                 .length = 512,
                                 .accumulation = 4,
                                 .balance_weight = 0.03,
                                 .eval_every = 125};
inline const lab::Settings small{.model = "small",
                                 .steps = 200,
                                 .batch = 16,
                                 .length = 128,
                                 .muon_lr = 0.02,
                                 .adamw_lr = 3e-3,
                                 .beta2 = 0.99,
                                 .balance_weight = 0.04,
                                 .eval_every = 40};
inline const lab::Settings tiny{.model = "tiny",
                                .steps = 100,
                                .batch = 8,
                                .length = 64,
                                .muon_lr = 0.02,
                                .adamw_lr = 3e-3,
                                .beta2 = 0.99,
                                .balance_weight = 0.02,
                                .eval_every = 25};

/// A dense model and its mixtures: one with feed-forwards of the same width as experts, one with
/// experts so narrow that as many parameters are active as in the dense model.
struct Twins {
  const char *preset, *layers;  // which layers have experts
  const lab::Settings* settings;
  lab::Model (*dense)();
  lab::Model (*moe)();
  lab::Model (*iso_active)();
  const char* text;
};
inline const Twins twins[] = {
    {"tiny", "all", &tiny, lab::tiny_dense, lab::tiny_moe, lab::tiny_iso_active, "shakespeare"},
    {"small", "all", &small, lab::small_dense, lab::small_moe, lab::small_iso_active,
     "shakespeare"},
    {"small", "alternate", &small, lab::small_dense, lab::small_alternate,
     lab::small_alternate_iso_active, "shakespeare"},
    {"paper", "alternate", &paper, lab::paper_dense, lab::paper_alternate,
     lab::paper_alternate_iso_active, "stories"}};

}  // namespace dense_vs_moe
