#pragma once
#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <moe/core/batch.hpp>
#include <moe/core/in_use.hpp>
#include <moe/model/check_batch.hpp>
#include <moe/model/decoder.hpp>
#include <moe/model/initial_values.hpp>
#include <moe/model/loss.hpp>
#include <moe/model/parameters.hpp>
#include <moe/tree/bind.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moe::inline MOE_ISA {

/// A decoder-only language model with its memory. Decoder is the network. Transformer owns arenas,
/// uploads batches and downloads reports. It allocates nothing after construction. Gradients
/// accumulate until zero_grads(), which an optimizer's update includes.
/// BlockTemplate: Block, or your own (examples/custom_layer.cpp).
/// One thread at a time: give each thread of a server its own backend and model, or take turns.
/// Errors: moe::Error for invalid options, a batch that does not fit (sizes, tokens or targets
/// outside of the vocabulary, missing targets), a second thread, or logits and loads before a pass;
/// nothing has changed then. Backward without forward is a contract violation.
/// Test: tests/model, tests/core/options.cpp, tests/core/in_use.cpp, tests/fixtures.
///
///     constexpr moe::ModelConfig config{.vocab = 65, .dim = 128, .layers = 4, .heads = 4,
///                                       .context = 64, .moe = {.experts = 8, .hidden = 256}};
///     moe::Cpu backend;
///     moe::Transformer<config> model{backend, {.batch = 32}};
///     model.forward(batch);
///     model.backward();
template <ModelConfig C, Backend B = Cpu<float>,
          template <ModelConfig, bool, class> class BlockTemplate = DefaultBlock>
class Transformer {
  static_assert(check<C>());

 public:
  using Network = Decoder<C, B, BlockTemplate>;
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters, gradients and logits
  using Backend = B;
  using Params = typename Network::Params;
  using Cache = typename Network::Cache;
  using Scratch = typename Network::Scratch;
  using Report = typename Network::Report;
  using Pending = PendingPass<B, Report>;
  static constexpr ModelConfig config = C;

  Transformer(B& be, const Options& options)
      : be_(be),
        options_(std::make_unique<Options>(checked(options))),
        params_arena_(be, bytes<Params>()),
        grads_arena_(be, trains<B> ? bytes<Params>() : 0),
        cache_arena_(be, bytes<Cache>(max_tokens())),
        scratch_arena_(be, bytes<Scratch>(max_tokens())),
        report_arena_(be, bytes<ReportMemory>()) {
    bind(params_, params_arena_.data());
    if constexpr (trains<B>) bind(grads_, grads_arena_.data());
    bind(report_memory_, report_arena_.data());
    AttentionShape largest = attention_shape();
    largest.sequences = (max_tokens() + C.context - 1) / C.context;
    be_.reserve(largest);
    set_initial_values(be_, params_, *options_, C.layers);
  }
  Transformer(const Transformer&) = delete;

  /// Runs forward on one batch: writes the caches and returns the losses. In training mode dropout
  /// and router noise are on; their random stream is numbered passes(), which then advances.
  Loss forward(const Batch& batch, bool training = true) {
    const auto in_use = hold();
    Pending pending;
    queue_forward(pending, batch, training);
    return collect(pending).loss;
  }

  /// Adds loss_scale * d(total loss) to grads().
  void backward(double loss_scale = 1) {
    const auto in_use = hold();
    if (without_targets_) throw Error("cannot go back through the last pass: ", no_targets);
    MOE_EXPECTS(state_ == State::loss,
                "backward needs the forward pass of the same batch before it");
    state_ = State::logits;
    pass_.loss_scale = loss_scale;
    Network::head_backward(be_, pass_, params_, cache_, grads_, scratch_);
    Network::backward(be_, pass_, params_, cache_, grads_, scratch_);
  }

  /// forward(batch) and backward(loss_scale) in one call, with the same bits. Computes the logits
  /// only once.
  Loss forward_backward(const Batch& batch, double loss_scale = 1) {
    const auto in_use = hold();
    Pending pending;
    queue(pending, batch, loss_scale);
    return collect(pending).loss;
  }

  /// forward and forward_backward in two parts. queue() does not wait until the pass is computed;
  /// collect() does, and gives its losses and routing. Passes are collected in their order.
  void queue_forward(Pending& pending, const Batch& batch, bool training = true) {
    const auto in_use = hold();
    begin(batch, training);
    Network::forward(be_, pass_, params_, cache_, scratch_);
    state_ = State::logits;
    if (batch.targets) {
      Network::head_forward(be_, pass_, params_, cache_, scratch_);
      state_ = State::loss;
    }
    queue_report(pending);
  }
  void queue(Pending& pending, const Batch& batch, double loss_scale = 1) {
    const auto in_use = hold();
    if (!batch.targets) throw Error("cannot train on a batch: ", no_targets);
    begin(batch, true);
    pass_.loss_scale = loss_scale;
    Network::forward(be_, pass_, params_, cache_, scratch_);
    Network::head_forward_backward(be_, pass_, params_, cache_, grads_, scratch_);
    state_ = State::logits;
    Network::backward(be_, pass_, params_, cache_, grads_, scratch_);
    queue_report(pending);  // last: whatever throws above, nothing is on its way to `pending`
  }
  const Report& collect(Pending& pending) {
    const auto in_use = hold();
    report_ = pending.collect(be_);
    collected_ = true;
    return report_;
  }

  /// The logits (n, vocab) of the last forward pass, on the host.
  std::vector<W> logits() {
    const auto in_use = hold();
    if (state_ < State::logits)
      throw Error(
          "cannot give logits: no forward pass went before, or one of next_logits, which "
          "gives its own; call forward first");
    const Rows<T, C.dim> x = cache_.normed;
    Arena<B> out(be_, std::size_t(x.count) * C.vocab * sizeof(W));
    W* device = reinterpret_cast<W*>(out.data());
    Head::logits(be_, Network::head(params_), x, device);
    std::vector<W> host(std::size_t(x.count) * C.vocab);
    be_.download(host.data(), device, host.size() * sizeof(W));
    return host;
  }

  /// For generation: reads `length` new tokens of each sequence at position `start`, stores their
  /// keys and values in past[layer], and returns the logits (sequences, vocab) after the last of
  /// them.
  std::span<const W> next_logits(const std::int32_t* tokens, int sequences, int length, int start,
                                 std::span<const KeyValues<T>> past) {
    const auto in_use = hold();
    const std::int64_t end = std::int64_t(start) + length;
    MOE_EXPECTS(sequences <= Network::max_sequences && start >= 0 && end <= C.context,
                "next_logits was asked for ", sequences, " sequences up to token ", end,
                " of at most ", Network::max_sequences, " and ", C.context);
    MOE_EXPECTS(past.size() == std::size_t(C.layers), "next_logits got keys and values of ",
                past.size(), " layers, not one for each layer");
    begin({tokens, nullptr, sequences, length}, false);
    pass_.start = start;
    Network::forward(be_, pass_, params_, cache_, scratch_, past);
    auto& head = scratch_.stage.head;
    const Rows<T, C.dim> last{head.dy.data, sequences};
    for (int s = 0; s < sequences; ++s)
      copy(be_, last.slice(s, 1),
           Rows<const T, C.dim>(cache_.normed.slice((s + 1) * length - 1, 1)));
    W* const logits = head.head.logits.data;
    Head::logits(be_, Network::head(params_), last, logits);
    logits_.resize(std::max(logits_.size(), std::size_t(sequences) * C.vocab));
    be_.download(logits_.data(), logits, std::size_t(sequences) * C.vocab * sizeof(W));
    return {logits_.data(), std::size_t(sequences) * C.vocab};
  }

  /// Each expert's share of the assignments of an MoE layer in the last pass that was collected.
  /// The shares sum to 1.
  std::array<double, std::size_t(C.moe.experts)> expert_load(int moe_layer) const {
    require_routed(moe_layer);
    return report_.routing[std::size_t(moe_layer)].load;
  }

  /// The mean entropy of the router's probabilities in that pass, in nats; at most ln(experts).
  double router_entropy(int moe_layer) const {
    require_routed(moe_layer);
    return report_.routing[std::size_t(moe_layer)].entropy;
  }

  /// Reserves model and backend for the calling thread, for the lifetime of the returned object;
  /// calls of other threads fail meanwhile. Every member function does this itself. Use it for a
  /// series of calls (training, generating).
  [[nodiscard]] auto hold() const { return std::pair(in_use_.hold("a model"), detail::hold(be_)); }

  B& backend() const { return be_; }
  const Options& options() const { return *options_; }
  Params& params() { return params_; }
  const Params& params() const { return params_; }
  Params& grads() requires trains<B> { return grads_; }
  /// A parameter by its name, in the backend's memory: model.parameter("final_norm.weight").
  LeafView<W> parameter(std::string_view name) { return moe::parameter<W>(params_, name); }
  const Cache& cache() const { return cache_; }
  void zero_grads() {
    be_.zero(grads_arena_.data(), grads_arena_.bytes());
    be_.zero(loss_not_finite(), sizeof(int));
  }
  /// In the backend's memory: 1 if a training pass since the last update or zero_grads() had a loss
  /// that is not finite. The next update is skipped then.
  int* loss_not_finite() { return report_memory_.loss_not_finite.data; }
  const Loss& loss() const { return report_.loss; }
  /// The number of training passes: the position of the dropout and noise streams, part of a
  /// checkpoint.
  std::uint64_t passes() const { return passes_; }
  void set_passes(std::uint64_t passes) {
    const auto in_use = hold();
    passes_ = passes;
  }

  /// The bytes of each kind of memory for a batch of `tokens` tokens, known without allocating.
  struct Memory {
    std::size_t params, grads, cache, scratch;
  };
  /// The largest attention that one thread computes, without dropout.
  static AttentionShape attention_shape() {
    return {1, C.context, C.context, C.context, C.heads, C.kv_heads_or_default(), C.head_dim()};
  }
  static Memory memory(int tokens) {
    return {bytes<Params>(), trains<B> ? bytes<Params>() : 0,
            bytes<Cache>(tokens) + bytes<ReportMemory>(), bytes<Scratch>(tokens)};
  }

 private:
  using Head = typename Network::Head;

  int max_tokens() const { return options_->max_tokens; }
  static Options checked(const Options& options) {
    // Per token this many things are counted in int: choices of experts, and rows of heads.
    constexpr int max_tokens =
        std::numeric_limits<int>::max() / std::max({2, C.moe.top_k, C.heads});
    return checked_options<W>(options, C.context, max_tokens);
  }

  /// Uploads a batch, points the caches into memory for it, and begins a pass.
  void begin(const Batch& batch, bool training) {
    detail::check_batch(batch, C, max_tokens());
    const int n = batch.sequences * batch.length;
    state_ = State::nothing;
    without_targets_ = !batch.targets;
    bind(cache_, cache_arena_.data(), n);
    bind(scratch_, scratch_arena_.data(), n);
    be_.upload(cache_.tokens.data, batch.tokens, std::size_t(n) * sizeof(int));
    if (batch.targets) be_.upload(cache_.targets.data, batch.targets, std::size_t(n) * sizeof(int));
    const std::uint64_t step = training ? passes_++ : 0;
    if constexpr (repeats_steps<B>) be_.upload(report_memory_.step.data, &step, sizeof step);
    pass_ = {.options = options_.get(),
             .length = batch.length,
             .training = training,
             .step = repeats_steps<B> ? 0 : step,
             .step_in_memory = repeats_steps<B> ? report_memory_.step.data : nullptr,
             .moe_layers = std::max(1, C.moe_layers())};
  }

  void queue_report(Pending& pending) {
    const int tokens = without_targets_ ? 0 : cache_.tokens.count;
    double* const report = report_memory_.report.data;
    Network::report(be_, pass_, tokens, cache_, report,
                    pass_.training ? loss_not_finite() : nullptr);
    pending.queue(be_, report, tokens);
  }
  void require_routed(int moe_layer) const {
    if (moe_layer >= 0 && moe_layer < C.moe_layers() && collected_) return;
    throw Error("cannot tell the routing of MoE layer ", moe_layer, ": the model has ",
                C.moe_layers(), " of them", (collected_ ? "" : " and no pass of it was collected"),
                "; count them from 0, after a forward pass");
  }

  /// What is available after the last pass. A later state includes the earlier ones.
  enum class State { unused, nothing, logits, loss };
  static constexpr const char* no_targets =
      "it has no targets, so there is no loss; set Batch.targets, the token that follows each";

  B& be_;
  mutable detail::InUse in_use_;
  std::unique_ptr<Options> options_;  // Pass points to it
  using ReportMemory = PassReportMemory<Report>;
  Arena<B> params_arena_, grads_arena_, cache_arena_, scratch_arena_, report_arena_;
  Params params_{}, grads_{};
  Cache cache_{};
  Scratch scratch_{};
  ReportMemory report_memory_{};
  Pass pass_{};
  Report report_{};
  std::vector<W> logits_;
  std::uint64_t passes_ = 0;
  State state_ = State::unused;
  bool without_targets_ = false, collected_ = false;
};

}  // namespace moe
