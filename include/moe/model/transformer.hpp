#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <moe/core/batch.hpp>
#include <moe/core/in_use.hpp>
#include <moe/layers/cross_entropy.hpp>
#include <moe/layers/embedding.hpp>
#include <moe/model/block.hpp>
#include <moe/model/initial_values.hpp>
#include <moe/model/loss.hpp>
#include <moe/model/parameters.hpp>
#include <moe/tree/bind.hpp>
#include <moe/tree/per_layer.hpp>
#include <span>
#include <utility>
#include <vector>

namespace moe {

/// A decoder-only language model:  embed -> blocks -> norm -> head -> cross entropy, and back.
/// It owns four arenas (the optimiser has the fifth) and allocates nothing after construction. The
/// gradients are added up until zero_grads(); an optimiser does that after its update.
/// BlockTemplate: a block of the user's own (examples/custom_layer.cpp).
/// One thread at a time: a server has a backend and a model for each of its threads, or takes
/// turns. Errors: moe::Error for options out of range, a batch that does not fit (sizes, tokens or
/// targets outside the vocabulary, targets that are missing), a second thread, logits or loads
/// before there are any; nothing has changed then. Backward before forward ends the program.
/// Test: tests/model, tests/core/options.cpp, tests/core/in_use.cpp, tests/fixtures.
///
///     constexpr moe::ModelConfig config{.vocab = 65, .dim = 128, .layers = 4, .heads = 4,
///                                       .context = 64, .moe = {.experts = 8, .hidden = 256}};
///     moe::Cpu backend;
///     moe::Transformer<config, moe::Cpu<float>> model{backend, {.max_tokens = 64 * 32}};
///     model.forward(batch);
///     model.backward();
template <ModelConfig C, Backend B, template <ModelConfig, bool, class> class BlockTemplate = Block>
class Transformer {
  static_assert(check<C>());

 public:
  using T = Scalar<B>;  // of activations
  using W = Wide<B>;    // of parameters, gradients and logits
  using Backend = B;
  static constexpr ModelConfig config = C;
  using Tokens = TokenEmbedding<C.vocab, C.dim, B, C.scale_embedding>;
  static constexpr bool learned_positions = C.position == Position::learned;
  using Positions = PositionEmbedding<learned_positions ? C.context : 0, C.dim, B>;
  using Norm = NormOf<C.norm, C.dim, B, C.bias>;
  using Head = CrossEntropy<C.vocab, C.dim, B>;
  template <bool Mixture>
  using BlockOf = BlockTemplate<C, Mixture, B>;

  struct HeadParams {
    Param<W, Role::head, C.tied ? 0 : C.vocab, C.dim> weight;
  };
  struct Params {
    typename Tokens::Params token_embedding;
    typename Positions::Params position_embedding;
    PerLayer<C, typename BlockOf<false>::Params, typename BlockOf<true>::Params> blocks;
    typename Norm::Params final_norm;
    HeadParams head;
  };
  struct Cache {
    Rows<T, C.dim> embedded;
    PerLayer<C, typename BlockOf<false>::Cache, typename BlockOf<true>::Cache> blocks;
    std::array<Rows<T, C.dim>, C.layers - 1> hidden;  // what each block but the last gives
    Rows<T, C.dim> normed;
    typename Norm::Cache final_norm;
    typename Head::Cache head;
  };
  struct HeadScratch {
    Rows<T, C.dim> dropped, dy;
    typename Norm::Scratch norm;
    typename Head::Scratch head;
  };
  /// The blocks share their scratch, and share it with what comes after them.
  struct StageScratch {
    static constexpr bool overlaid = true;
    PerLayer<C, BlockScratch<BlockOf<false>, T>, BlockScratch<BlockOf<true>, T>, true> block;
    HeadScratch head;
  };
  struct Scratch {
    Rows<T, C.dim> stream;  // what the last block gives; in backward the gradient of the stream
    StageScratch stage;
  };

  Transformer(B& be, const Options& options)
      : be_(be),
        options_(std::make_unique<Options>(checked(options))),
        params_arena_(be, bytes<Params>()),
        grads_arena_(be, bytes<Params>()),
        cache_arena_(be, bytes<Cache>(options.max_tokens)),
        scratch_arena_(be, bytes<Scratch>(options.max_tokens)) {
    bind(params_, params_arena_.data());
    bind(grads_, grads_arena_.data());
    host_.resize(std::size_t(options.max_tokens) * 2);
    tokens_.resize(std::size_t(options.max_tokens));
    targets_.resize(std::size_t(options.max_tokens));
    be_.reserve(attention_shape());
    set_initial_values(be_, params_, *options_, C.layers);
  }
  Transformer(const Transformer&) = delete;

  /// One batch: writes the caches and gives the losses. In training mode dropout and router noise
  /// are on, drawn from stream number passes(), which then moves on.
  Loss forward(const Batch& batch, bool training = true) {
    const auto in_use = hold();
    forward_to_head(batch, training);
    if (!batch.targets) return collect_loss(false);
    HeadScratch& s = scratch_.stage.head;
    Head::forward(be_, head(params_), dropped(), targets_.data(), cache_.head, s.head);
    state_ = State::loss;
    return collect_loss(true);
  }

  /// Adds loss_scale * d(total loss) to grads().
  void backward(double loss_scale = 1) {
    const auto in_use = hold();
    if (without_targets_)
      throw Error("cannot go back through the last pass: " + std::string(no_targets));
    MOE_EXPECTS(state_ == State::loss,
                "backward needs the forward pass of the same batch before it");
    state_ = State::logits;
    HeadScratch& s = scratch_.stage.head;
    Head::backward(be_, head(params_), dropped(), targets_.data(), cache_.head, loss_scale, s.dy,
                   head(grads_), s.head, false);
    backward_from_head(loss_scale);
  }

  /// A training pass and its backward: forward(batch), then backward(loss_scale), with the same
  /// bits. It computes the logits once.
  Loss forward_backward(const Batch& batch, double loss_scale = 1) {
    const auto in_use = hold();
    if (!batch.targets) throw Error("cannot train on a batch: " + std::string(no_targets));
    forward_to_head(batch, true);
    HeadScratch& s = scratch_.stage.head;
    Head::forward_backward(be_, head(params_), dropped(), targets_.data(), cache_.head, loss_scale,
                           s.dy, head(grads_), s.head, false);
    const Loss loss = collect_loss(true);
    backward_from_head(loss_scale);
    return loss;
  }

  /// Logits (n, vocab) of the last forward pass, on the host.
  std::vector<W> logits() {
    const auto in_use = hold();
    if (state_ < State::logits)
      throw Error(
          "cannot give logits: no forward pass went before, or one of next_logits, which "
          "gives its own; call forward first");
    const Rows<T, C.dim> x = cache_.normed;
    Arena<B> out(be_, std::size_t(x.count) * C.vocab * sizeof(W));
    W* device = reinterpret_cast<W*>(out.data());
    Head::logits(be_, head(params_), x, device);
    std::vector<W> host(std::size_t(x.count) * C.vocab);
    be_.download(host.data(), device, host.size() * sizeof(W));
    return host;
  }

  /// For generation: reads `length` new tokens of each sequence at position `start`, stores their
  /// keys and values in past[layer], and gives the logits (sequences, vocab) that follow the last
  /// of them.
  std::span<const W> next_logits(const std::int32_t* tokens, int sequences, int length, int start,
                                 std::span<const KeyValues<T>> past) {
    const auto in_use = hold();
    const std::int64_t end = std::int64_t(start) + length;
    MOE_EXPECTS(sequences <= Head::chunk && start >= 0 && end <= C.context,
                "next_logits was asked for " + std::to_string(sequences) +
                    " sequences up to token " + std::to_string(end) + " of at most " +
                    std::to_string(Head::chunk) + " and " + std::to_string(C.context));
    MOE_EXPECTS(past.size() == std::size_t(C.layers), "next_logits got keys and values of " +
                                                          std::to_string(past.size()) +
                                                          " layers, not one for each layer");
    begin({tokens, nullptr, sequences, length}, false);
    pass_.start = start;
    embed();
    for (int i = 0; i < C.layers; ++i) block_forward(i, &past[std::size_t(i)]);
    HeadScratch& head_scratch = scratch_.stage.head;
    const Rows<T, C.dim> last{head_scratch.dy.data, sequences};
    for (int s = 0; s < sequences; ++s)
      be_.copy(last.slice(s, 1).data, hidden(C.layers - 1).slice((s + 1) * length - 1, 1).data,
               C.dim * sizeof(T));
    const Rows<T, C.dim> normed{cache_.normed.data, sequences};
    Norm::forward(be_, pass_, params_.final_norm, last, normed, cache_.final_norm,
                  head_scratch.norm);
    W* const logits = head_scratch.head.logits.data;
    Head::logits(be_, head(params_), normed, logits);
    host_.resize(std::max(host_.size(), std::size_t(sequences) * C.vocab));
    be_.download(host_.data(), logits, std::size_t(sequences) * C.vocab * sizeof(W));
    return {host_.data(), std::size_t(sequences) * C.vocab};
  }

  /// Share of the assignments that each expert of an MoE layer got in the last pass; sums to 1.
  std::array<double, std::size_t(C.moe.experts)> expert_load(int moe_layer) const {
    require_routed(moe_layer);
    std::array<int, std::size_t(C.moe.experts + 1)> offset{};
    if constexpr (C.moe_layers() > 0)
      be_.download(offset.data(), cache_.blocks.template of<true>(moe_layer).ffn.router.offset.data,
                   sizeof(offset));
    std::array<double, std::size_t(C.moe.experts)> load{};
    for (std::size_t e = 0; e < load.size(); ++e)
      load[e] = double(offset[e + 1] - offset[e]) / double(std::max(1, offset.back()));
    return load;
  }

  /// Entropy of the router's probabilities in the last pass, mean over its tokens; nats, at most
  /// ln experts.
  double router_entropy(int moe_layer) const {
    require_routed(moe_layer);
    return router_stats(moe_layer)[1];
  }

  /// Model and backend for the calling thread until the result dies: another thread's calls fail
  /// until then. Every call holds itself; for what takes several of them (training, generating).
  [[nodiscard]] auto hold() const { return std::pair(in_use_.hold("a model"), detail::hold(be_)); }

  B& backend() const { return be_; }
  const Options& options() const { return *options_; }
  Params& params() { return params_; }
  const Params& params() const { return params_; }
  Params& grads() { return grads_; }
  const Cache& cache() const { return cache_; }
  void zero_grads() {
    be_.zero(grads_arena_.data(), grads_arena_.bytes());
    gradients_were_zeroed();
  }
  /// For an optimiser that has set grads() to zero itself.
  void gradients_were_zeroed() { loss_finite_ = true; }
  /// All losses since the last zero_grads() were finite, passes without a loss left out.
  bool loss_finite() const { return loss_finite_; }
  const Loss& loss() const { return loss_; }
  /// Training passes so far: the position of the dropout and noise streams, part of a checkpoint.
  std::uint64_t passes() const { return passes_; }
  void set_passes(std::uint64_t passes) { passes_ = passes; }

  /// Bytes by class, for a batch of `tokens`; nothing has to be allocated to know them.
  struct Memory {
    std::size_t params, grads, cache, scratch;
  };
  /// The largest attention that one thread computes, without dropout.
  static AttentionShape attention_shape() {
    return {1, C.context, C.context, C.context, C.heads, C.key_heads(), C.head_dim()};
  }
  static Memory memory(int tokens) {
    return {bytes<Params>(), bytes<Params>(), bytes<Cache>(tokens), bytes<Scratch>(tokens)};
  }

 private:
  void begin(const Batch& batch, bool training) {
    check_batch(batch);
    const int n = batch.sequences * batch.length;
    state_ = State::nothing;
    without_targets_ = !batch.targets;
    std::copy_n(batch.tokens, n, tokens_.begin());
    if (batch.targets) std::copy_n(batch.targets, n, targets_.begin());
    bind(cache_, cache_arena_.data(), n);
    bind(scratch_, scratch_arena_.data(), n);
    pass_ = {.options = options_.get(),
             .length = batch.length,
             .training = training,
             .step = training ? passes_++ : 0,
             .moe_layers = std::max(1, C.moe_layers())};
  }
  /// Errors: what cannot be computed; the model has not changed.
  void check_batch(const Batch& batch) const {
    const auto refuse = [&](const std::string& why) {
      throw Error("cannot read a batch of " + std::to_string(batch.sequences) + " sequences of " +
                  std::to_string(batch.length) + " tokens: " + why);
    };
    const int most = options_->max_tokens;
    if (batch.sequences < 1 || batch.length < 1)
      refuse("both must be 1 or more; correct the sizes");
    if (batch.length > C.context)
      refuse("the context of the model is " + std::to_string(C.context) + "; use shorter ones");
    if (std::int64_t(batch.sequences) * batch.length > most)
      refuse("the model was built for " + std::to_string(most) +
             " tokens; raise Options.max_tokens or use a smaller batch");
    if (!batch.tokens) refuse("it has no tokens (a null pointer); set Batch.tokens");
    const int n = batch.sequences * batch.length;
    check_tokens("token", batch.tokens, n);
    if (batch.targets) check_tokens("target", batch.targets, n);
  }
  static void check_tokens(const char* what, const std::int32_t* from, int n) {
    for (int i = 0; i < n; ++i)
      if (from[i] < 0 || from[i] >= C.vocab)
        throw Error(std::string(what) + " " + std::to_string(from[i]) + " at place " +
                    std::to_string(i) + " of the batch is outside the vocabulary of " +
                    std::to_string(C.vocab) + "; encode the text with the model's own vocabulary");
  }
  void require_routed(int moe_layer) const {
    if (moe_layer >= 0 && moe_layer < C.moe_layers() && state_ != State::unused) return;
    throw Error("cannot tell the routing of MoE layer " + std::to_string(moe_layer) +
                ": the model has " + std::to_string(C.moe_layers()) + " of them" +
                (state_ == State::unused ? " and has read no batch" : "") +
                "; count them from 0, after a forward pass");
  }
  static Options checked(const Options& options) {
    // What is counted in int for each token: choices of experts, and rows of heads.
    constexpr int most = std::numeric_limits<int>::max() / std::max({2, C.moe.top_k, C.heads});
    check_options<W>(options, most);
    return options;
  }

  /// Everything below the head.
  void forward_to_head(const Batch& batch, bool training) {
    begin(batch, training);
    embed();
    for (int i = 0; i < C.layers; ++i) block_forward(i, nullptr);
    pass_.layer = 0;
    Norm::forward(be_, pass_, params_.final_norm, hidden(C.layers - 1), cache_.normed,
                  cache_.final_norm, scratch_.stage.head.norm);
    state_ = State::logits;
  }
  /// The same back, from the gradient in the head's scratch.
  void backward_from_head(double loss_scale) {
    pass_.loss_scale = loss_scale;
    HeadScratch& s = scratch_.stage.head;
    const Rows<T, C.dim> stream = scratch_.stream;
    if (const Dropout d = final_dropout(); d.active())
      be_.rows(s.dy.count, kernel::Drop<T>{s.dy, s.dy, d});
    Norm::backward(be_, pass_, params_.final_norm, stream, cache_.final_norm, s.dy, stream,
                   grads_.final_norm, s.norm, false);
    for (int i = C.layers - 1; i >= 0; --i)
      at_layer(i, [&]<class Blk>(Blk, int at) { block_backward<Blk>(i, at); });
    pass_.layer = 0;
    if (const Dropout d = embedding_dropout(); d.active())
      be_.rows(stream.count, kernel::Drop<T>{stream, stream, d});
    if constexpr (learned_positions)
      Positions::backward(be_, pass_, stream, grads_.position_embedding);
    Tokens::backward(be_, tokens_.data(), stream, grads_.token_embedding);
  }

  void embed() {
    const Rows<T, C.dim> x = cache_.embedded;
    Tokens::forward(be_, params_.token_embedding, tokens_.data(), x);
    if constexpr (learned_positions) Positions::forward(be_, pass_, params_.position_embedding, x);
    if (const Dropout d = embedding_dropout(); d.active())
      be_.rows(x.count, kernel::Drop<T>{x, x, d});
  }
  void block_forward(int i, const KeyValues<T>* past) {
    at_layer(i, [&]<class Blk>(Blk, int at) {
      Blk::forward(be_, pass_, params_.blocks.template of<Blk::mixture>(at), input(i), hidden(i),
                   cache_.blocks.template of<Blk::mixture>(at),
                   scratch_.stage.block.template of<Blk::mixture>(at).scratch, past);
    });
  }

  /// Block `i`, number `at` of its kind: scratch_.stream from the gradient of its output to that of
  /// its input.
  template <class Blk>
  void block_backward(int i, int at) {
    const auto& p = params_.blocks.template of<Blk::mixture>(at);
    const auto& c = cache_.blocks.template of<Blk::mixture>(at);
    auto& grad = grads_.blocks.template of<Blk::mixture>(at);
    auto& s = scratch_.stage.block.template of<Blk::mixture>(at);
    if constexpr (InPlace<Blk>) {
      Blk::backward_in_place(be_, pass_, p, input(i), c, scratch_.stream, grad, s.scratch);
    } else {
      copy(be_, s.dy, Rows<const T, C.dim>(scratch_.stream));
      zero(be_, scratch_.stream);
      Blk::backward(be_, pass_, p, input(i), c, s.dy, scratch_.stream, grad, s.scratch);
    }
  }

  /// Calls f(block type, place among its kind) for layer i and tells the pass.
  template <class F>
  void at_layer(int i, const F& f) {
    pass_.layer = i;
    const int at = C.index_in_kind(i);
    if constexpr (C.moe_layers() > 0)
      if (C.is_moe(i)) return f(BlockOf<true>{}, at);
    if constexpr (C.moe_layers() < C.layers) f(BlockOf<false>{}, at);
  }
  Rows<T, C.dim> input(int i) const { return i == 0 ? cache_.embedded : hidden(i - 1); }
  Rows<T, C.dim> hidden(int i) const {
    return i == C.layers - 1 ? scratch_.stream : cache_.hidden[std::size_t(i)];
  }

  W* head(Params& p) const { return C.tied ? p.token_embedding.weight.data : p.head.weight.data; }

  Dropout embedding_dropout() const {
    return pass_.dropout(options_->dropout.embedding, Site::embedding_dropout);
  }
  Dropout final_dropout() const {
    return pass_.dropout(options_->dropout.final, Site::final_dropout);
  }
  /// What the head reads: the final norm, with dropout in training.
  Rows<const T, C.dim> dropped() {
    const Dropout d = final_dropout();
    if (!d.active()) return cache_.normed;
    const Rows<T, C.dim> to = scratch_.stage.head.dropped;
    be_.rows(to.count, kernel::Drop<T>{cache_.normed, to, d});
    return to;
  }

  /// Of the pass just made; `known`: it went through the head.
  Loss collect_loss(bool known) {
    const std::size_t n = known ? std::size_t(cache_.head.loss.count) : 0;
    be_.download(host_.data(), cache_.head.loss.data, n * sizeof(W));
    be_.download(host_.data() + n, cache_.head.correct.data, n * sizeof(W));
    Loss loss{.tokens = int(n)};
    for (std::size_t i = 0; i < n; ++i) {
      loss.cross_entropy += double(host_[i]);
      loss.accuracy += double(host_[n + i]);
    }
    // Without targets 0 / 0: not known.
    loss.cross_entropy /= double(n);
    loss.accuracy /= double(n);
    for (int i = 0; i < C.moe_layers(); ++i) add_router_losses(i, loss);
    loss.total = loss.cross_entropy + options_->balance_weight * loss.balance +
                 options_->z_weight * loss.z - options_->entropy_weight * loss.entropy;
    loss_ = loss;
    if (known) loss_finite_ = loss_finite_ && std::isfinite(loss.total);
    return loss;
  }
  void add_router_losses(int i, Loss& loss) const {
    if constexpr (C.moe_layers() > 0) {
      const auto& router = cache_.blocks.template of<true>(i).ffn.router;
      std::array<W, std::size_t(C.moe.experts)> mean_probs;
      be_.download(mean_probs.data(), router.mean_probs.data, sizeof(mean_probs));
      const auto load = expert_load(i);
      const auto stats = router_stats(i);
      for (std::size_t e = 0; e < load.size(); ++e)
        loss.balance += double(load.size()) * load[e] * double(mean_probs[e]) / C.moe_layers();
      loss.z += stats[0] / C.moe_layers();
      loss.entropy += stats[1] / C.moe_layers();
    }
  }
  /// Means of logsumexp^2 and of the entropy of an MoE layer's router.
  std::array<double, 2> router_stats(int i) const {
    std::array<W, 2> stats{};
    if constexpr (C.moe_layers() > 0)
      be_.download(stats.data(), cache_.blocks.template of<true>(i).ffn.router.mean_stats.data,
                   sizeof(stats));
    return {double(stats[0]), double(stats[1])};
  }

  /// What the last pass left. A later state offers what the ones before it do.
  enum class State { unused, nothing, logits, loss };
  static constexpr const char* no_targets =
      "it has no targets, so there is no loss; set Batch.targets, the token that follows each";

  B& be_;
  mutable detail::InUse in_use_;
  std::unique_ptr<Options> options_;  // Pass points to it
  Arena<B> params_arena_, grads_arena_, cache_arena_, scratch_arena_;
  Params params_{}, grads_{};
  Cache cache_{};
  Scratch scratch_{};
  Pass pass_{};
  Loss loss_{};
  std::vector<W> host_;
  std::vector<std::int32_t> tokens_, targets_;
  std::uint64_t passes_ = 0;
  State state_ = State::unused;
  bool without_targets_ = false, loss_finite_ = true;
};

}  // namespace moe
