#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <moe/backend/backend.hpp>
#include <moe/core/check_option.hpp>
#include <moe/core/in_use.hpp>
#include <moe/kernels/adamw.hpp>
#include <moe/kernels/chunk.hpp>
#include <moe/kernels/expert_bias.hpp>
#include <moe/optim/gradient_norm.hpp>
#include <moe/tree/leaves.hpp>
#include <string>
#include <vector>

namespace moe {

/// What an optimiser asks of a model. `loss_finite`: every loss since zero_grads was finite;
/// `gradients_were_zeroed` is zero_grads without the writing, which the update has done.
template <class M>
concept Trainable = requires(M& model, const M& seen) {
  { model.backend() } -> std::same_as<typename M::Backend&>;
  { model.params() } -> std::same_as<typename M::Params&>;
  { model.grads() } -> std::same_as<typename M::Params&>;
  { seen.loss_finite() } -> std::same_as<bool>;
  model.zero_grads();
  model.gradients_were_zeroed();
};

/// Options of AdamW, and of what AdamW and Muon share (clip, balance_rate, skip_limit).
struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;   // matrices only; p shrinks by lr * weight_decay an update
  double clip = 1.0;           // largest L2 norm of the whole gradient; infinity switches it off
  double balance_rate = 1e-3;  // step of a selection bias, whatever the schedule says
  int skip_limit = 8;          // so many skipped updates in a row stop the run
};

/// Thrown when so many updates in a row were skipped that the run is lost.
struct Diverged : Error {
  using Error::Error;
};

/// What one call of step did.
struct StepReport {
  double grad_norm;    // before clipping; not finite if that is why the update was skipped
  double clip_factor;  // what the gradient was multiplied by
  double lr;           // peak * factor; Muon reports the one of its matrices
  bool skipped;
};

namespace detail {

/// T: the type of the parameters. However high, a rate is not refused: a search over rates finds
/// out, and what is lost is said by Diverged.
template <class T>
void check_rates(const OptionCheck& check, double lr, double weight_decay) {
  check.not_negative<T>("lr", lr);
  check.not_negative<T>("weight_decay", weight_decay);
}

template <class T>
void check_options(const AdamWOptions& o) {
  const OptionCheck check{"build an optimiser", "AdamWOptions"};
  check_rates<T>(check, o.lr, o.weight_decay);
  check.below_one("beta1", o.beta1);
  check.below_one("beta2", o.beta2);
  check.positive<T>("eps", o.eps);
  check(o.clip >= OptionCheck::smallest<T>(), "clip", o.clip,
        "above 0 in the numbers of the model");
  check.not_negative<T>("balance_rate", o.balance_rate);
  check.at_least("skip_limit", o.skip_limit, 1);
}

/// What AdamW and Muon have in common: norm, clipping, skipping, counters, state, and AdamW itself
/// for the leaves that `Rule` does not orthogonalise.
///
/// Rule gives `static constexpr bool orthogonalises(Role)`, `double lr() const` and
/// `update_matrices(scale, lr_factor)`, which updates the leaves that it orthogonalises.
template <Trainable Model, class Rule>
class Update {
 public:
  using Params = typename Model::Params;
  using Backend = typename Model::Backend;
  using T = Wide<Backend>;

  /// One update from the gradients in the model, which are zero afterwards. With a loss or gradient
  /// that is not finite nothing changes but the counters of skips.
  /// Errors: moe::Diverged after skip_limit skips in a row; a factor that is negative or not
  /// finite, or a model that another thread is in: nothing has changed then. Never allocates
  /// otherwise.
  StepReport step(double lr_factor = 1) {
    OptionCheck{"update", "step()"}.not_negative<T>("lr_factor", lr_factor);
    const auto in_use = hold(*model_);
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
    update(scale, lr_factor);
    return {norm, scale, lr, false};
  }

  /// Updates made, skipped ones not counted: the step of schedules and of bias correction.
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t n) {
    MOE_EXPECTS(n >= 0, "an optimiser was told of " + std::to_string(n) + " updates");
    updates_ = n;
  }
  /// Updates skipped since the start, and without an update in between up to now.
  std::int64_t skipped() const { return skipped_; }
  std::int64_t consecutive_skips() const { return consecutive_skips_; }
  void set_skipped(std::int64_t total, std::int64_t consecutive = 0) {
    skipped_ = total;
    consecutive_skips_ = consecutive;
  }

  /// Calls f(name, leaf) for every leaf of the state, a LeafView: "first.<path>" are momenta,
  /// "second.<path>" mean squares. With updates() and skipped() this is all that a checkpoint has
  /// to keep.
  template <class F>
  void for_each_state(F&& f) {
    for (const bool first : {true, false}) {
      for (std::size_t i = 0; i < state_.size(); ++i) {
        LeafView<T> leaf = state_of(i, first ? state_[i].first : state_[i].second);
        if (leaf.data) f((first ? "first." : "second.") + leaf_names<Params>()[i], leaf);
      }
    }
  }

  /// Bytes of the backend's memory, known without allocating: the state, and with scratch.
  static std::size_t state_bytes() {
    std::size_t total = 0;
    for (const LeafInfo& leaf : leaves<Params>())
      total += (has_first(leaf) + has_second(leaf)) * leaf.bytes();
    return total;
  }
  static std::size_t bytes_needed() {
    return state_bytes() + GradientNorm<Backend, Params>::bytes_needed() + Rule::scratch_bytes();
  }

 protected:
  /// Momentum and mean square of a leaf, null where it has none.
  struct State {
    T *first, *second;
  };

  Update(Model& model, const AdamWOptions& options)
      : model_(&model),
        options_(checked(options)),
        norm_(model.backend()),
        arena_(model.backend(), state_bytes()) {
    std::byte* at = arena_.data();
    for (const LeafInfo& leaf : leaves<Params>()) {
      const auto take = [&](bool wanted) {
        T* const here = wanted ? reinterpret_cast<T*>(at) : nullptr;
        at += wanted ? leaf.bytes() : 0;
        return here;
      };
      T* const first = take(has_first(leaf));
      state_.push_back({first, take(has_second(leaf))});
    }
  }

  Backend& backend() const { return model_->backend(); }
  LeafView<T> parameter(std::size_t i) const { return view<T>(model_->params(), info(i)); }
  LeafView<T> gradient(std::size_t i) const { return view<T>(model_->grads(), info(i)); }
  LeafView<T> momentum(std::size_t i) const { return state_of(i, state_[i].first); }
  /// Whether matrix number `matrix` has a gradient: an expert without tokens has none. Smaller
  /// squares may be sums of denormal numbers, which some threads flush and others do not.
  bool has_gradient(std::size_t matrix) const { return norm_.square(matrix) >= kernel::at_rest<T>; }

 private:
  static const AdamWOptions& checked(const AdamWOptions& options) {
    check_options<T>(options);
    return options;
  }
  Rule& rule() { return static_cast<Rule&>(*this); }
  static const LeafInfo& info(std::size_t i) { return leaves<Params>()[i]; }
  static LeafView<T> state_of(std::size_t i, T* data) {
    const LeafInfo& leaf = info(i);
    return {data, leaf.role, leaf.rows, leaf.cols, leaf.count, leaf.size};
  }

  static bool has_first(const LeafInfo& leaf) { return leaf.role != Role::selection_bias; }
  static bool has_second(const LeafInfo& leaf) {
    return has_first(leaf) && !Rule::orthogonalises(leaf.role);
  }

  /// Every pass over a gradient leaves zeros in it, for the sums of the next step.
  void update(double scale, double lr_factor) {
    rule().update_matrices(scale, lr_factor);
    for (std::size_t i = 0; i < state_.size(); ++i)
      if (!Rule::orthogonalises(info(i).role)) update_leaf(i, scale, lr_factor);
    model_->gradients_were_zeroed();
  }

  void update_leaf(std::size_t i, double scale, double lr_factor) {
    const Role role = info(i).role;
    T *const p = parameter(i).data, *const grad = gradient(i).data;
    const AdamWOptions& o = options_;
    const std::ptrdiff_t size = std::ptrdiff_t(info(i).size);
    const int chunks = kernel::chunks(size);
    if (role == Role::selection_bias)
      return backend().rows(chunks, kernel::BalanceStep<T>{size, p, grad, T(o.balance_rate)});
    const double lr = o.lr * lr_factor, t = double(updates_);
    const double decay = decays(role) ? o.weight_decay : 0;
    // A square that is not 0 has a root far above at_rest: a smaller eps changes nothing but would
    // be 0 in a narrow T, and 0 / 0 where there is no gradient.
    backend().rows(chunks, kernel::AdamW<T>{size, p, grad, state_[i].first, state_[i].second,
                                            T(scale), T(1 - o.beta1), T(1 - o.beta2),
                                            T(1 - lr * decay), T(lr / (1 - std::pow(o.beta1, t))),
                                            T(1 / std::sqrt(1 - std::pow(o.beta2, t))),
                                            T(std::max(o.eps, kernel::at_rest<T>))});
  }

  void skip() {
    ++skipped_;
    ++consecutive_skips_;
    const bool loss_finite = model_->loss_finite();
    model_->zero_grads();
    if (consecutive_skips_ < options_.skip_limit) return;
    const std::string leaf = norm_.first_non_finite();
    throw Diverged("stopped training after update " + std::to_string(updates_) + ": " +
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
  Arena<Backend> arena_;
  std::vector<State> state_;  // one for each of leaves<Params>()
  std::int64_t updates_ = 0, skipped_ = 0, consecutive_skips_ = 0;
  double last_finite_norm_ = 0;
};

}  // namespace detail
}  // namespace moe
