#pragma once
#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <moe/backend/backend.hpp>
#include <moe/core/check_option.hpp>
#include <moe/core/in_use.hpp>
#include <moe/optim/gradient_norm.hpp>
#include <moe/optim/rule.hpp>
#include <moe/tree/leaves.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace moe::inline MOE_ISA {

/// The interface that an optimizer needs from a model. `loss_finite`: every loss since zero_grads
/// was finite. `mark_grads_zeroed`: tells the model that its gradients are zero, which the update
/// has done.
template <class M>
concept Trainable = requires(M& model, const M& seen) {
  { model.backend() } -> std::same_as<typename M::Backend&>;
  { model.params() } -> std::same_as<typename M::Params&>;
  { model.grads() } -> std::same_as<typename M::Params&>;
  { seen.loss_finite() } -> std::same_as<bool>;
  model.zero_grads();
  model.mark_grads_zeroed();
};

/// The options of every optimizer, whatever its rules are.
struct OptimizerOptions {
  double clip = 1.0;   // largest L2 norm of the whole gradient; infinity switches it off
  int skip_limit = 8;  // this many skipped updates in a row stop the run

  template <class T>
  const OptimizerOptions& checked(const char* owner = "OptimizerOptions") const {
    const detail::OptionCheck check{"build an optimiser", owner};
    check(clip >= check.smallest<T>(), "clip", clip, "above 0 in the numbers of the model");
    check.at_least("skip_limit", skip_limit, 1);
    return *this;
  }
};

/// Thrown if so many updates in a row were skipped that the run is lost.
struct Diverged : Error {
  using Error::Error;
};

/// The result of one call of step.
struct StepReport {
  double grad_norm;    // before clipping; not finite if that is why the update was skipped
  double clip_factor;  // what the gradient was multiplied by
  double lr;           // Optimizer::lr() * factor
  bool skipped;
};

/// Updates a model from its gradients: measures their norm, clips them, skips the update if
/// something is not finite, and otherwise lets the first rule that takes a leaf's role update the
/// leaf. One arena holds the states of all rules. AdamW and Muon are this class with given rules.
/// Errors: moe::Error for invalid options, or if no rule takes a leaf.
/// Test: tests/optim/adamw.cpp (norm, skips, counters), tests/optim/custom_rule.cpp.
///
///     moe::Optimizer optimizer{model, {.clip = 1}, moe::ExpertBiasRule{}, MyRule{.lr = 1e-3}};
///     const moe::StepReport report = optimizer.step(moe::cosine(step, steps));
template <Trainable Model, UpdateRule... Rules>
class Optimizer {
 public:
  using Params = typename Model::Params;
  using Backend = typename Model::Backend;
  using T = Wide<Backend>;

  Optimizer(Model& model, const OptimizerOptions& options, const Rules&... rules)
      : model_(&model),
        options_(options.checked<T>()),
        rules_(checked(rules)...),
        workspaces_(make_workspaces(each_rule)),
        norm_(model.backend()),
        arena_(model.backend(), state_bytes()) {
    T* states = reinterpret_cast<T*>(arena_.data());
    const double* square = norm_.squares();
    for (std::size_t i = 0; i < leaves<Params>().size(); ++i) {
      const LeafInfo& leaf = leaves<Params>()[i];
      const bool measured = norm_.measured(leaf);
      if (leaf.size > 0) {
        const std::size_t rule = rule_of(leaf.role), stride = leaf.bytes() / sizeof(T);
        if (rule == count) no_rule_for(i);
        leaves_[rule].push_back({leaf_names<Params>()[i], view<T>(model.params(), leaf),
                                 view<T>(model.grads(), leaf), states, stride,
                                 measured ? square : nullptr});
        states += states_of(rule) * stride;
      }
      if (measured) square += leaf.count;
    }
  }

  /// Makes one update from the gradients in the model and sets them to zero. If a loss or gradient
  /// is not finite, only the counters of skips change.
  /// Errors: moe::Diverged after skip_limit skips in a row; moe::Error for a factor that is
  /// negative or not finite, or if another thread uses the model; nothing has changed then.
  /// Allocates only to throw.
  StepReport step(double lr_factor = 1) {
    detail::OptionCheck{"update", "step()"}.not_negative<T>("lr_factor", lr_factor);
    const auto in_use = detail::hold(*model_);
    const double norm = norm_.measure(model_->grads()), rate = lr() * lr_factor;
    if (!model_->loss_finite() || !std::isfinite(norm)) {
      skip();
      return {norm, 0, rate, true};
    }
    const double scale = clip_factor(norm, options_.clip);
    ++updates_;
    consecutive_skips_ = 0;
    last_finite_norm_ = norm;
    apply_rules({updates_, lr_factor, scale}, each_rule);
    model_->mark_grads_zeroed();
    return {norm, scale, rate, false};
  }

  /// The peak learning rate of the first rule that has one; NaN if none has.
  double lr() const {
    return std::apply([](const auto&... rule) { return first_lr(rule...); }, rules_);
  }

  /// The number of updates without skipped ones: the step of schedules and of bias correction.
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t n) {
    MOE_EXPECTS(n >= 0, "an optimiser was told of ", n, " updates");
    updates_ = n;
  }
  /// The number of updates skipped since the start, and the number skipped in a row until now.
  std::int64_t skipped() const { return skipped_; }
  std::int64_t consecutive_skips() const { return consecutive_skips_; }
  void set_skipped(std::int64_t total, std::int64_t consecutive = 0) {
    skipped_ = total;
    consecutive_skips_ = consecutive;
  }

  /// Calls f(name, leaf) for every state of every leaf, a LeafView. The name is that of the state
  /// in the rule, a dot, and the path of the leaf: "first.head". Together with updates() and
  /// skipped() this is all that a checkpoint has to keep.
  template <class F>
  void for_each_state(F&& f) {
    constexpr std::array<std::span<const std::string_view>, count> names{Rules::states...};
    for (std::size_t rule = 0; rule < count; ++rule) {
      for (std::size_t i = 0; i < names[rule].size(); ++i) {
        for (const LeafUpdate<T>& update : leaves_[rule]) {
          LeafView<T> leaf = update.state(i);
          f(std::string(names[rule][i]) + "." + std::string(update.name), leaf);
        }
      }
    }
  }

  /// True if R is one of the rules.
  template <class R>
  static constexpr bool has = (std::is_same_v<R, Rules> || ...);

  /// The bytes of the backend's memory, known without allocating: the states, the workspaces of the
  /// rules, and everything.
  static std::size_t state_bytes() {
    std::size_t total = 0;
    for (const LeafInfo& leaf : leaves<Params>())
      total += states_of(rule_of(leaf.role)) * leaf.bytes();
    return total;
  }
  static std::size_t scratch_bytes() {
    std::size_t rule = 0, total = 0;
    ((total += Workspace<Rules>::bytes_needed(infos_of(rule++))), ...);
    return total;
  }
  static std::size_t bytes_needed() {
    return state_bytes() + scratch_bytes() + GradientNorm<Backend, Params>::bytes_needed();
  }

 private:
  static constexpr std::size_t count = sizeof...(Rules);
  static constexpr std::index_sequence_for<Rules...> each_rule{};
  template <class R>
  using Workspace = typename detail::WorkspaceOf<R, Backend>::type;

  Backend& backend() const { return model_->backend(); }

  /// The index of the first rule that takes a role, or `count` if none does.
  static constexpr std::size_t rule_of(Role role) {
    std::size_t number = 0;
    static_cast<void>(((Rules::takes(role) || (++number, false)) || ...));
    return number;
  }
  static constexpr std::size_t states_of(std::size_t rule) {
    constexpr std::array<std::size_t, count + 1> each{Rules::states.size()..., 0};
    return each[rule];
  }
  static std::vector<LeafInfo> infos_of(std::size_t rule) {
    std::vector<LeafInfo> all;
    for (const LeafInfo& leaf : leaves<Params>())
      if (leaf.size > 0 && rule_of(leaf.role) == rule) all.push_back(leaf);
    return all;
  }

  template <class R>
  static const R& checked(const R& rule) {
    if constexpr (requires { rule.template checked<T>(); }) rule.template checked<T>();
    return rule;
  }
  template <std::size_t... I>
  std::tuple<Workspace<Rules>...> make_workspaces(std::index_sequence<I...>) const {
    return {Workspace<Rules>(backend(), infos_of(I))...};
  }
  [[noreturn]] static void no_rule_for(std::size_t leaf) {
    throw Error("cannot build an optimiser for a model with the leaf '", leaf_names<Params>()[leaf],
                "': none of its rules takes that; add one that takes what is left, as AdamWRule");
  }

  template <class R, class... Rest>
  static double first_lr(const R& rule, const Rest&... rest) {
    if constexpr (requires { rule.lr; })
      return rule.lr;
    else if constexpr (sizeof...(Rest) > 0)
      return first_lr(rest...);
    else
      return std::numeric_limits<double>::quiet_NaN();
  }

  template <std::size_t... I>
  void apply_rules(const UpdateStep& step, std::index_sequence<I...>) {
    (apply(std::get<I>(rules_), leaves_[I], step, std::get<I>(workspaces_)), ...);
  }
  template <class R>
  void apply(const R& rule, std::span<const LeafUpdate<T>> leaves, const UpdateStep& step,
             [[maybe_unused]] Workspace<R>& workspace) {
    if constexpr (std::is_same_v<Workspace<R>, detail::NoWorkspace>)
      rule.update(backend(), leaves, step);
    else
      rule.update(backend(), leaves, step, workspace);
  }

  void skip() {
    ++skipped_;
    ++consecutive_skips_;
    const bool loss_finite = model_->loss_finite();
    model_->zero_grads();
    if (consecutive_skips_ < options_.skip_limit) return;
    const std::string leaf = norm_.first_non_finite();
    throw Diverged("stopped training after update ", updates_, ": ", consecutive_skips_,
                   " updates in a row were skipped because ",
                   (loss_finite    ? ""
                    : leaf.empty() ? "the loss"
                                   : "the loss and "),
                   (leaf.empty() ? "" : "the gradient of '" + leaf + "'"),
                   " was not finite (the last finite gradient norm was ", last_finite_norm_,
                   "); go back to the last checkpoint and try a lower lr or clip");
  }

  Model* model_;
  OptimizerOptions options_;
  std::tuple<Rules...> rules_;
  std::tuple<Workspace<Rules>...> workspaces_;
  GradientNorm<Backend, Params> norm_;
  Arena<Backend> arena_;
  std::array<std::vector<LeafUpdate<T>>, count> leaves_;  // of each rule
  std::int64_t updates_ = 0, skipped_ = 0, consecutive_skips_ = 0;
  double last_finite_norm_ = 0;
};

}  // namespace moe
