#pragma once
#include <algorithm>
#include <cmath>
#include <moe/kernels/adamw.hpp>
#include <moe/optim/expert_bias.hpp>
#include <moe/optim/optimizer.hpp>

namespace moe::inline MOE_ISA {

/// AdamW:  m = lerp(m, g, 1 - beta1),  v = lerp(v, g^2, 1 - beta2),  p = p (1 - lr wd) - lr m^ /
/// (sqrt(v^) + eps).
/// g is the clipped gradient. m^ and v^ are m and v with the bias of their start at zero removed:
/// m^ = m / (1 - beta1^t),  v^ = v / (1 - beta2^t)  in update t. Only matrices decay (moe::decays).
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
/// Derivation: docs/derivations/adamw.md.  Test: tests/optim/adamw.cpp.
struct AdamWRule {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;  // each update multiplies p by 1 - lr * weight_decay

  static constexpr std::array<std::string_view, 2> states{"first", "second"};
  static constexpr bool takes(Role) { return true; }

  /// No learning rate is too high to be accepted: a search over rates must be able to try it, and
  /// Diverged reports the failure.
  template <class T>
  const AdamWRule& checked(const char* owner = "AdamWRule") const {
    const detail::OptionCheck check{"build an optimizer", owner};
    check.not_negative<T>("lr", lr);
    check.not_negative<T>("weight_decay", weight_decay);
    check.below_one("beta1", beta1);
    check.below_one("beta2", beta2);
    check.positive<T>("eps", eps);
    return *this;
  }

  /// The factors of the current update.
  template <class B>
  struct Workspace {
    Arena<B> factors;
    Workspace(B& be, std::span<const LeafUpdate<Wide<B>>>) : factors(be, bytes_needed({})) {}
    static std::size_t bytes_needed(std::span<const LeafInfo>) {
      return sizeof(kernel::AdamWFactors);
    }
  };

  template <class B>
  void update(B& be, const RuleUpdate<Wide<B>>& u, Workspace<B>& work) const {
    using T = Wide<B>;
    auto* const factors = reinterpret_cast<kernel::AdamWFactors*>(work.factors.data());
    be.rows(1, kernel::AdamWPrepare{u.control, factors, lr, beta1, beta2, weight_decay});
    // The root of a nonzero v is far above at_rest, so raising eps to at_rest changes nothing. A
    // smaller eps could be 0 in a narrow T, and give 0 / 0 where there is no gradient.
    be.rows(u.chunks, kernel::AdamW<T>{u.chunk, u.control, factors, T(1 - beta1), T(1 - beta2),
                                       T(std::max(eps, kernel::at_rest<T>))});
  }
};

/// Options of AdamW: those of its rules, and OptimizerOptions.
struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;  // matrices only; each update multiplies p by 1 - lr * weight_decay
  double clip = 1.0;          // largest L2 norm of the whole gradient; infinity: no clipping
  double expert_bias_rate = 1e-3;  // ExpertBiasRule::rate; the schedule does not apply
  int skip_limit = 8;              // so many skipped updates in a row stop the run

  AdamWRule rule() const {
    return {.lr = lr, .beta1 = beta1, .beta2 = beta2, .eps = eps, .weight_decay = weight_decay};
  }
};

/// An Optimizer with AdamWRule for all leaves except expert biases, which ExpertBiasRule updates.
/// Errors: moe::Error for invalid options.
///
///     moe::AdamW optimizer{model, {.lr = 3e-3, .clip = 1}};
///     const moe::StepReport report = optimizer.step(moe::cosine(step, steps));
template <Trainable Model>
class AdamW : public Optimizer<Model, ExpertBiasRule, AdamWRule> {
  using Base = Optimizer<Model, ExpertBiasRule, AdamWRule>;
  using typename Base::T;
  static constexpr const char* owner = "AdamWOptions";

 public:
  explicit AdamW(Model& model, const AdamWOptions& o = {})
      : Base(model, OptimizerOptions{.clip = o.clip, .skip_limit = o.skip_limit}.checked<T>(owner),
             ExpertBiasRule{.rate = o.expert_bias_rate}.checked<T>(owner, "expert_bias_rate"),
             o.rule().checked<T>(owner)) {}
};

}  // namespace moe
