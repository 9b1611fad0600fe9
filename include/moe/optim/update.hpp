#pragma once
#include <cmath>
#include <concepts>
#include <cstdint>
#include <moe/backend.hpp>
#include <moe/error.hpp>
#include <moe/kernels/update.hpp>
#include <moe/optim/clip.hpp>
#include <moe/reflect.hpp>
#include <string>

namespace moe {

/// What an optimiser asks of a model. `loss_finite`: every loss since zero_grads was finite.
template <class M>
concept Trainable = requires(M& model, const M& seen) {
  { model.backend() } -> std::same_as<typename M::Backend&>;
  { model.params() } -> std::same_as<typename M::Params&>;
  { model.grads() } -> std::same_as<typename M::Params&>;
  { seen.loss_finite() } -> std::same_as<bool>;
  model.zero_grads();
};

/// Options of AdamW, and of what AdamW and Muon share (clip, balance_rate, skip_limit).
struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;   // matrices only; p shrinks by lr * weight_decay an update
  double clip = 1.0;           // largest L2 norm of the whole gradient; infinity switches it off
  double balance_rate = 1e-3;  // step of a selection bias, whatever the schedule says
  int skip_limit = 8;          // so many skipped updates in a row stop the run
};

/// What one call of step did.
struct StepReport {
  double grad_norm;    // before clipping; not finite if that is why the update was skipped
  double clip_factor;  // what the gradient was multiplied by
  double lr;           // peak * factor; Muon reports the one of its matrices
  bool skipped;
};

namespace detail {

inline void check_option(bool good, const char* name, double value, const char* rule) {
  if (!good)
    throw Error("moe: cannot build an optimiser with " + std::string(name) + " = " +
                std::to_string(value) + ": it must be " + rule + "; correct the option");
}

inline void check_options(const AdamWOptions& o) {
  check_option(o.lr >= 0 && std::isfinite(o.lr), "AdamWOptions.lr", o.lr, "finite, 0 or more");
  check_option(o.beta1 >= 0 && o.beta1 < 1, "AdamWOptions.beta1", o.beta1, "in [0, 1)");
  check_option(o.beta2 >= 0 && o.beta2 < 1, "AdamWOptions.beta2", o.beta2, "in [0, 1)");
  check_option(o.eps > 0, "AdamWOptions.eps", o.eps, "above 0");
  check_option(o.weight_decay >= 0, "AdamWOptions.weight_decay", o.weight_decay, "0 or more");
  check_option(o.clip > 0, "AdamWOptions.clip", o.clip, "above 0");
  check_option(o.skip_limit > 0, "AdamWOptions.skip_limit", o.skip_limit, "above 0");
}

/// What AdamW and Muon have in common: norm, clipping, skipping, counters, state, and AdamW itself
/// for the leaves that `Rule` does not orthogonalise.
///
/// Rule gives `static constexpr bool orthogonalises(Role)`, `double lr() const` and
/// `update_matrices(p, grad, first, matrix, scale, lr_factor)`.
template <Trainable Model, class Rule>
class Update {
 public:
  using Params = typename Model::Params;
  using Backend = typename Model::Backend;
  using T = Scalar<Backend>;

  /// One update from the gradients in the model, which are zero afterwards. With a loss or gradient
  /// that is not finite nothing changes but the counters of skips.
  /// Errors: moe::Error after skip_limit skips in a row. Never allocates otherwise.
  StepReport step(double lr_factor = 1) {
    MOE_EXPECTS(std::isfinite(lr_factor), "the learning rate factor of step is not finite");
    const double norm = norm_.measure(model_->grads());
    const double lr = rule().lr() * lr_factor;
    if (!model_->loss_finite() || !std::isfinite(norm)) {
      skip();
      return {norm, 0, lr, true};
    }
    const double scale = clip_factor(norm, options_.clip);
    ++updates_;
    consecutive_skips_ = 0;
    last_finite_norm_ = norm;
    std::size_t matrix = 0;
    for_each_leaf(
        [&](auto& p, auto& grad, auto& first, auto& second) {
          update_leaf(p, grad, first, second, matrix, scale, lr_factor);
        },
        model_->params(), model_->grads(), first_, second_);
    model_->zero_grads();
    return {norm, scale, lr, false};
  }

  /// Updates made, skipped ones not counted: the step of schedules and of bias correction.
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t n) { updates_ = n; }
  /// Updates skipped since the start, and without an update in between up to now.
  std::int64_t skipped() const { return skipped_; }
  std::int64_t consecutive_skips() const { return consecutive_skips_; }
  void set_skipped(std::int64_t total, std::int64_t consecutive = 0) {
    skipped_ = total;
    consecutive_skips_ = consecutive;
  }

  /// Calls f(name, leaf) for every leaf of the state: "first.<path>" are momenta, "second.<path>"
  /// mean squares. With updates() and skipped() this is all that a checkpoint has to keep.
  template <class F>
  void for_each_state(F&& f) {
    const auto bound = [&](const std::string& name, auto& leaf) {
      if (leaf.data) f(name, leaf);
    };
    for_each_named_leaf(bound, "first", first_);
    for_each_named_leaf(bound, "second", second_);
  }

  /// Bytes of the backend's memory, known without allocating: the state, and with scratch.
  static std::size_t state_bytes() {
    Params first{}, second{};
    return bind_state(first, second, nullptr);
  }
  static std::size_t bytes_needed() {
    return state_bytes() + GradientNorm<Backend, Params>::bytes_needed() + Rule::scratch_bytes();
  }

 protected:
  Update(Model& model, const AdamWOptions& options)
      : model_(&model),
        options_(options),
        norm_(model.backend()),
        state_(model.backend(), state_bytes()) {
    check_options(options);
    bind_state(first_, second_, state_.data());
  }

  Backend& backend() const { return model_->backend(); }
  /// Whether matrix number `matrix` has a gradient: an expert without tokens has none.
  bool has_gradient(std::size_t matrix) const { return norm_.square(matrix) > 0; }

 private:
  template <class Leaf>
  static constexpr std::ptrdiff_t leaf_size = std::ptrdiff_t(Leaf::size);
  template <class Leaf>
  static constexpr int leaf_chunks = kernel::chunks(leaf_size<Leaf>);

  Rule& rule() { return static_cast<Rule&>(*this); }

  static std::size_t bind_state(Params& first, Params& second, std::byte* at) {
    std::size_t used = 0;
    const auto take = [&](auto& leaf) {
      using Leaf = std::remove_cvref_t<decltype(leaf)>;
      if (at) leaf.data = reinterpret_cast<T*>(at + used);
      used += (Leaf::size * sizeof(T) + leaf_alignment - 1) / leaf_alignment * leaf_alignment;
    };
    for_each_leaf(
        [&](auto& momentum, auto& mean_square) {
          constexpr Role role = std::remove_cvref_t<decltype(momentum)>::role;
          if constexpr (role != Role::selection_bias) {
            take(momentum);
            if constexpr (!Rule::orthogonalises(role)) take(mean_square);
          }
        },
        first, second);
    return used;
  }

  template <class Leaf>
  void update_leaf(Leaf& p, Leaf& grad, Leaf& first, Leaf& second, std::size_t& matrix,
                   double scale, double lr_factor) {
    if constexpr (Leaf::role == Role::selection_bias) {
      backend().rows(leaf_chunks<Leaf>, kernel::BalanceStep<T>{leaf_size<Leaf>, p.data, grad.data,
                                                               T(options_.balance_rate)});
    } else {
      if constexpr (Rule::orthogonalises(Leaf::role)) {
        rule().update_matrices(p, grad, first, matrix, scale, lr_factor);
      } else {
        update_adamw(p, grad, first, second, scale, lr_factor);
      }
      matrix += std::size_t(Leaf::count);
    }
  }

  template <class Leaf>
  void update_adamw(Leaf& p, Leaf& grad, Leaf& first, Leaf& second, double scale,
                    double lr_factor) {
    const AdamWOptions& o = options_;
    const double lr = o.lr * lr_factor, t = double(updates_);
    const double decay = decays(Leaf::role) ? o.weight_decay : 0;
    backend().rows(leaf_chunks<Leaf>,
                   kernel::AdamW<T>{leaf_size<Leaf>, p.data, grad.data, first.data, second.data,
                                    T(scale), T(1 - o.beta1), T(1 - o.beta2), T(1 - lr * decay),
                                    T(lr / (1 - std::pow(o.beta1, t))),
                                    T(1 / std::sqrt(1 - std::pow(o.beta2, t))), T(o.eps)});
  }

  void skip() {
    ++skipped_;
    ++consecutive_skips_;
    const bool loss_finite = model_->loss_finite();
    model_->zero_grads();
    if (consecutive_skips_ < options_.skip_limit) return;
    const std::string leaf = norm_.first_non_finite();
    throw Error("moe: stopped training after update " + std::to_string(updates_) + ": " +
                std::to_string(consecutive_skips_) + " updates in a row were skipped because " +
                (loss_finite    ? ""
                 : leaf.empty() ? "the loss"
                                : "the loss and ") +
                (leaf.empty() ? "" : "the gradient of '" + leaf + "'") +
                " was not finite (the last finite gradient norm was " +
                std::to_string(last_finite_norm_) +
                "); go back to the last checkpoint and try a lower lr or clip");
  }

  Model* model_;
  AdamWOptions options_;
  GradientNorm<Backend, Params> norm_;
  Arena<Backend> state_;
  Params first_{}, second_{};
  std::int64_t updates_ = 0, skipped_ = 0, consecutive_skips_ = 0;
  double last_finite_norm_ = 0;
};

}  // namespace detail
}  // namespace moe
