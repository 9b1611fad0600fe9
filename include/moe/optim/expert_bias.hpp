#pragma once
#include <moe/core/check_option.hpp>
#include <moe/kernels/expert_bias.hpp>
#include <moe/optim/rule.hpp>

namespace moe::inline MOE_ISA {

/// Loss-free balancing:  b = b - rate * sign(load - mean load).  An expert's bias is added to its
/// score when experts are chosen. It falls if the expert got more tokens than the mean, and rises
/// if it got fewer. The router's backward stores load - mean load in place of a gradient. No state,
/// no decay; clipping and the schedule do not apply.
/// Source: Wang et al. 2024, arXiv:2408.15664, algorithm 1.  Test: tests/optim/adamw.cpp.
struct ExpertBiasRule {
  double rate = 1e-3;

  static constexpr std::array<std::string_view, 0> states{};
  static constexpr bool takes(Role role) { return role == Role::expert_bias; }

  template <class T>
  const ExpertBiasRule& checked(const char* owner = "ExpertBiasRule",
                                const char* name = "rate") const {
    detail::OptionCheck{"build an optimizer", owner}.not_negative<T>(name, rate);
    return *this;
  }

  template <class B>
  void update(B& be, const RuleUpdate<Wide<B>>& u) const {
    be.rows(u.chunks, kernel::ExpertBiasStep<Wide<B>>{u.chunk, u.control, Wide<B>(rate)});
  }
};

}  // namespace moe
