#pragma once
#include <moe/optim/optimizer.hpp>

namespace moe {

/// AdamW on every leaf:  m = lerp(m, g, 1 - beta1),  v = lerp(v, g^2, 1 - beta2),
/// p = p (1 - lr wd) - lr m^ / (sqrt(v^) + eps),  ^ = without the bias of the zero start,
/// g clipped by the global norm; decay for matrices only (moe::decays). Selection biases move by
/// -balance_rate * sign(load - mean load).
/// Errors: moe::Error for options out of range.  Derivation: docs/derivations/adamw.md.
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101.  Test: tests/optim/adamw.cpp.
///
///     moe::AdamW optimizer{model, {.lr = 3e-3}};
///     const moe::StepReport report = optimizer.step(moe::cosine(step, steps));
template <Trainable Model>
class AdamW : public detail::Update<Model, AdamW<Model>> {
  using Base = detail::Update<Model, AdamW<Model>>;

 public:
  explicit AdamW(Model& model, const AdamWOptions& options = {})
      : Base(model, options), lr_(options.lr) {}

  /// The peak learning rate.
  double lr() const { return lr_; }
  static constexpr bool orthogonalises(Role) { return false; }
  static std::size_t scratch_bytes() { return 0; }

 private:
  friend Base;
  void update_matrices(double, double) {}

  double lr_;
};

}  // namespace moe
