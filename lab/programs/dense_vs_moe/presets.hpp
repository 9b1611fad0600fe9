#pragma once
#include <moe_lab/presets.hpp>

namespace dense_vs_moe {

/// The parameter counts of llm-moe's models. The active ones include every part that a token uses.
inline constexpr std::size_t paper_dense_total = 29'496'192, paper_moe_total = 54'278'016,
                             paper_moe_active = 33'044'352;

/// llm-moe's 3000 micro-batches; three of its layers have experts.
inline lab::Settings paper() {
  lab::Settings s = lab::paper_settings;
  s.steps = 750;
  s.balance_weight = 0.03;
  return s;
}
/// Shorter than simple_moe's, as there are five runs for each seed.
inline lab::Settings small() {
  lab::Settings s = lab::small_settings;
  s.steps = 200, s.accumulation = 1, s.eval_every = 40;
  return s;
}
/// Half as many layers have experts, so the sum of their balance losses is half as large.
inline lab::Settings small_alternate() {  // also for the last half
  lab::Settings s = small();
  s.balance_weight /= 2;
  return s;
}
inline lab::Settings tiny() {
  return lab::tiny_settings;
}

/// A dense model and two mixtures: in `moe` each expert is as wide as the dense feed-forward; in
/// `iso_active` the experts are so narrow that as many parameters are active as in the dense model.
struct Twins {
  const char *preset, *layers;  // which layers have experts
  lab::Settings (*settings)();
  const char *dense, *moe, *iso_active;  // names of models
  const char *text;
};
inline const Twins twins[] = {
    {"tiny", "all", tiny, "tiny dense", "tiny", "tiny iso-active", "shakespeare"},
    {"small", "all", small, "small dense", "small", "small iso-active", "shakespeare"},
    {"small", "alternate", small_alternate, "small dense", "small alternate",
     "small alternate iso-active", "shakespeare"},
    {"small", "last-half", small_alternate, "small dense", "small last-half",
     "small last-half iso-active", "shakespeare"},
    {"paper", "alternate", paper, "paper dense", "paper alternate", "paper alternate iso-active",
     "stories"}};

}  // namespace dense_vs_moe
