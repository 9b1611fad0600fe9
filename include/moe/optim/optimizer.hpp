#pragma once
#include <concepts>
#include <cstdint>
#include <limits>
#include <moe/backend/backend.hpp>
#include <moe/core/check_option.hpp>
#include <moe/core/in_use.hpp>
#include <moe/optim/gradient_norm.hpp>
#include <moe/optim/rule_leaves.hpp>
#include <moe/tree/leaves.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace moe::inline MOE_ISA {

/// The interface that an optimizer needs from a model. `loss_not_finite`: a number in the backend's
/// memory, other than 0 if a loss was not finite since the gradients were 0. An update sets it and
/// the gradients to 0.
template <class M>
concept Trainable = trains<typename M::Backend> && requires(M& model) {
  { model.backend() } -> std::same_as<typename M::Backend&>;
  { model.params() } -> std::same_as<typename M::Params&>;
  { model.grads() } -> std::same_as<typename M::Params&>;
  { model.loss_not_finite() } -> std::same_as<int*>;
};

/// The options of every optimizer, whatever its rules are.
struct OptimizerOptions {
  double clip = 1.0;   // largest L2 norm of the whole gradient; infinity switches it off
  int skip_limit = 8;  // this many skipped updates in a row stop the run

  template <class T>
  const OptimizerOptions& checked(const char* owner = "OptimizerOptions") const {
    const detail::OptionCheck check{"build an optimizer", owner};
    check(clip >= check.smallest<T>(), "clip", clip, "above 0 in the numbers of the model");
    check.at_least("skip_limit", skip_limit, 1);
    return *this;
  }
};

/// Thrown if so many updates in a row were skipped that the run is lost.
struct Diverged : Error {
  using Error::Error;
};

/// The result of one update.
struct StepReport {
  double grad_norm;    // before clipping; not finite if that is why the update was skipped
  double clip_factor;  // what the gradient was multiplied by
  double lr;           // Optimizer::lr() * factor
  bool skipped;
};

/// An update that may not have been made yet, between Optimizer::queue and Optimizer::collect. It
/// must stay where it is in between.
template <class B>
struct PendingStep {
  kernel::StepControl control = {};
  double lr = 0;
  typename B::Ticket ticket = {};
  std::int64_t number = -1;  // among the updates of its optimizer; -1: not queued
};

/// Updates a model from its gradients: measures their norm, clips them, skips the update if
/// something is not finite, and otherwise lets the first rule that takes a leaf's role update the
/// leaf. All this happens in the backend's memory: queue() waits for nothing.
/// One arena holds the states of all rules. AdamW and Muon are this class with given rules.
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
        norm_(model.backend(), model.grads()),
        leaves_(model.backend(), model.params(), model.grads(), norm_.squares()),
        control_(model.backend(), sizeof(kernel::StepControl)),
        workspaces_(make_workspaces(each_rule)) {
    write_control();
  }

  /// Makes one update from the gradients in the model and sets them to zero. If a loss or gradient
  /// is not finite, only the counters of skips change.
  /// Errors: moe::Diverged after skip_limit skips in a row; moe::Error for a factor that is
  /// negative or not finite, or if another thread uses the model; nothing has changed then.
  /// Allocates only to throw.
  StepReport step(double lr_factor = 1) {
    const auto in_use = detail::hold(*model_);
    PendingStep<Backend> pending;
    queue(pending, lr_factor);
    return collect(pending);
  }

  /// The same in two parts. queue() does not wait until the update is made; collect() does, counts
  /// it, and throws Diverged, when others may have been queued behind it. Updates are collected in
  /// the order in which they were queued.
  void queue(PendingStep<Backend>& pending, double lr_factor = 1) {
    detail::OptionCheck{"update", "step()"}.not_negative<T>("lr_factor", lr_factor);
    const auto in_use = detail::hold(*model_);
    pending.lr = lr() * lr_factor;
    Backend& be = backend();
    be.upload(&control()->lr_factor, &lr_factor, sizeof lr_factor);
    norm_.decide(options_.clip, model_->loss_not_finite(), control());
    apply_rules(each_rule);
    pending.ticket = be.later(&pending.control, control(), sizeof pending.control);
    pending.number = collected_ + queued_++;
  }
  StepReport collect(PendingStep<Backend>& pending) {
    const auto in_use = detail::hold(*model_);
    MOE_EXPECTS(queued_ > 0 && pending.number == collected_,
                "updates are collected once, in the order in which they were queued");
    backend().wait(pending.ticket);
    pending.number = -1;
    ++collected_, --queued_;
    const kernel::StepControl& c = pending.control;
    updates_ = c.updates, skipped_ = c.skipped, consecutive_skips_ = c.consecutive_skips;
    if (c.skip && consecutive_skips_ >= options_.skip_limit) diverged(c);
    return {c.norm, c.grad_scale, pending.lr, c.skip != 0};
  }

  /// The peak learning rate of the first rule that has one; NaN if none has.
  double lr() const {
    return std::apply([](const auto&... rule) { return first_lr(rule...); }, rules_);
  }

  /// The number of updates that were queued and not collected yet. While there are any, the
  /// counters are older than the parameters: they cannot be set or saved.
  int queued() const { return queued_; }

  /// The number of collected updates without skipped ones: the step of schedules and of bias
  /// correction.
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t n) { set_counters(n, skipped_, consecutive_skips_); }
  /// The number of updates skipped since the start, and the number skipped in a row until now.
  std::int64_t skipped() const { return skipped_; }
  std::int64_t consecutive_skips() const { return consecutive_skips_; }
  void set_skipped(std::int64_t total, std::int64_t consecutive = 0) {
    set_counters(updates_, total, consecutive);
  }

  /// Calls f(name, leaf) for every state of every leaf, a LeafView. The name is that of the state
  /// in the rule, a dot, and the path of the leaf: "first.head". Together with updates() and
  /// skipped() this is all that a checkpoint has to keep.
  template <class F>
  void for_each_state(F&& f) {
    leaves_.for_each_state(f);
  }

  /// True if R is one of the rules.
  template <class R>
  static constexpr bool has = (std::is_same_v<R, Rules> || ...);

  /// The bytes of the backend's memory, known without allocating: the states, the workspaces of the
  /// rules with the tables of their leaves, and everything.
  static std::size_t state_bytes() { return Leaves::state_bytes(); }
  static std::size_t scratch_bytes() {
    std::size_t rule = 0, total = Leaves::chunk_bytes();
    ((total += Workspace<Rules>::bytes_needed(Leaves::infos_of(rule++))), ...);
    return total;
  }
  static std::size_t bytes_needed() {
    return state_bytes() + scratch_bytes() + sizeof(kernel::StepControl) +
           GradientNorm<Backend, Params>::bytes_needed();
  }

 private:
  using Leaves = detail::RuleLeaves<Backend, Params, Rules...>;
  static constexpr std::index_sequence_for<Rules...> each_rule{};
  template <class R>
  using Workspace = typename detail::WorkspaceOf<R, Backend>::type;

  Backend& backend() const { return model_->backend(); }
  void set_counters(std::int64_t updates, std::int64_t skipped, std::int64_t consecutive) {
    const auto in_use = detail::hold(*model_);
    MOE_EXPECTS(queued_ == 0, "the counters of an optimizer were set while ", queued_,
                " of its updates were queued");
    MOE_EXPECTS(updates >= 0 && skipped >= 0 && consecutive >= 0, "an optimizer was told of ",
                updates, " updates, ", skipped, " skipped ones and ", consecutive, " in a row");
    updates_ = updates, skipped_ = skipped, consecutive_skips_ = consecutive;
    write_control();
  }
  kernel::StepControl* control() const {
    return reinterpret_cast<kernel::StepControl*>(control_.data());
  }
  /// Writes the counters to the backend's memory.
  void write_control() {
    const kernel::StepControl now{
        .updates = updates_, .skipped = skipped_, .consecutive_skips = consecutive_skips_};
    backend().upload(control(), &now, sizeof now);
  }

  template <class R>
  static const R& checked(const R& rule) {
    if constexpr (requires { rule.template checked<T>(); }) rule.template checked<T>();
    return rule;
  }
  template <std::size_t... I>
  std::tuple<Workspace<Rules>...> make_workspaces(std::index_sequence<I...>) const {
    return {Workspace<Rules>(backend(), leaves_.of_rule(I))...};
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
  void apply_rules(std::index_sequence<I...>) {
    (apply(std::get<I>(rules_), leaves_.update(I, control()), std::get<I>(workspaces_)), ...);
  }
  template <class R>
  void apply(const R& rule, const RuleUpdate<T>& update, [[maybe_unused]] Workspace<R>& workspace) {
    if (update.chunks == 0) return;
    if constexpr (std::is_same_v<Workspace<R>, detail::NoWorkspace>)
      rule.update(backend(), update);
    else
      rule.update(backend(), update, workspace);
  }

  [[noreturn]] void diverged(const kernel::StepControl& c) const {
    const std::string leaf =
        c.first_bad_leaf < 0 ? "" : leaf_names<Params>()[std::size_t(c.first_bad_leaf)];
    throw Diverged("stopped training after update ", updates_, ": ", consecutive_skips_,
                   " updates in a row were skipped because ",
                   (!c.loss_not_finite ? ""
                    : leaf.empty()     ? "the loss"
                                       : "the loss and "),
                   (!leaf.empty()       ? "the gradient of '" + leaf + "'"
                    : c.loss_not_finite ? ""
                                        : "the norm of the gradient"),
                   " was not finite (the last finite gradient norm was ", c.last_finite_norm,
                   "); go back to the last checkpoint and try a lower lr or clip");
  }

  Model* model_;
  OptimizerOptions options_;
  std::tuple<Rules...> rules_;
  GradientNorm<Backend, Params> norm_;
  Leaves leaves_;
  Arena<Backend> control_;
  std::tuple<Workspace<Rules>...> workspaces_;
  std::int64_t updates_ = 0, skipped_ = 0, consecutive_skips_ = 0, collected_ = 0;
  int queued_ = 0;
};

}  // namespace moe
