#pragma once
#include <array>
#include <moe/kernels/dropout.hpp>
#include <moe/kernels/report.hpp>
#include <moe/layers/cross_entropy.hpp>
#include <moe/layers/embedding.hpp>
#include <moe/model/block.hpp>
#include <moe/model/loss.hpp>
#include <moe/tree/bind.hpp>
#include <moe/tree/per_layer.hpp>
#include <span>
#include <string_view>
#include <type_traits>

namespace moe::inline MOE_ISA {

/// The network of a decoder-only language model:  embed -> blocks -> norm -> head -> cross entropy,
/// and back. Like a layer it is three aggregates and static functions, and owns nothing;
/// Transformer owns the memory.
/// Shapes: tokens, targets (n, 1), everything else (n, dim).
/// BlockTemplate: Block, or your own (examples/custom_layer.cpp) with the members of Block that are
/// used here; with experts also `router(cache)`.  Test: tests/model.
template <ModelConfig C, Backend B,
          template <ModelConfig, bool, class> class BlockTemplate = DefaultBlock>
struct Decoder {
  using T = Value<B>;  // of activations
  using W = Wide<B>;   // of parameters, gradients and logits
  using Tokens = TokenEmbedding<C.vocab, C.dim, B, C.scale_embedding>;
  static constexpr bool learned_positions = C.position == Position::learned;
  using Positions = PositionEmbedding<learned_positions ? C.context : 0, C.dim, B>;
  using Norm = NormOf<C.norm, C.dim, B, C.bias>;
  using Head = CrossEntropyHead<C.vocab, C.dim, B>;
  template <bool Mixture>
  using BlockOf = BlockTemplate<C, Mixture, B>;
  /// What tells the blocks apart in checkpoints: nothing for the library's, for one's own their
  /// `static constexpr std::string_view name`, or "unnamed".
  static constexpr std::string_view block_name = [] {
    constexpr bool mixtures = C.moe_layers() > 0, dense = C.moe_layers() < C.layers;
    constexpr bool own = (mixtures && !std::is_same_v<BlockOf<true>, DefaultBlock<C, true, B>>) ||
                         (dense && !std::is_same_v<BlockOf<false>, DefaultBlock<C, false, B>>);
    if constexpr (!own)
      return std::string_view();
    else if constexpr (requires { BlockOf<mixtures>::name; })
      return std::string_view(BlockOf<mixtures>::name);
    else
      return std::string_view("unnamed");
  }();
  /// The most sequences whose next logits are computed together: one chunk of the head's rows.
  static constexpr int max_sequences = Head::chunk;

  struct HeadParams {
    Param<Weight<B>, Role::head, C.tied ? 0 : C.vocab, C.dim> weight;
  };
  struct Params {
    typename Tokens::Params token_embedding;
    typename Positions::Params position_embedding;
    PerLayer<C, typename BlockOf<false>::Params, typename BlockOf<true>::Params> blocks;
    typename Norm::Params final_norm;
    HeadParams head;
  };
  /// What the report of a pass is made from.
  struct Results {
    std::array<RouterReport<C.moe.experts, W>, C.moe_layers()> routers;
    typename Head::Cache head;
  };
  struct Cache {
    Rows<int, 1> tokens, targets;
    Rows<T, C.dim> embedded;
    PerLayer<C, typename BlockOf<false>::Cache, typename BlockOf<true>::Cache> blocks;
    std::array<Rows<T, C.dim>, C.layers - 1> stream;  // outputs of all blocks but the last
    Rows<T, C.dim> normed;
    typename Norm::Cache final_norm;
    Results results;
  };
  struct HeadScratch {
    Rows<T, C.dim> dropped, dy;
    typename Norm::Scratch norm;
    typename Head::Scratch head;
  };
  /// All blocks share their scratch memory, and head and embedding share it with them.
  struct StageScratch {
    static constexpr bool overlaid = true;
    PerLayer<C, typename StreamBlock<BlockOf<false>, T>::Scratch,
             typename StreamBlock<BlockOf<true>, T>::Scratch, true>
        block;
    HeadScratch head;
    typename Tokens::Scratch tokens;
  };
  struct Scratch {
    Rows<T, C.dim> stream;  // output of the last block; in backward its gradient
    StageScratch stage;
  };

  /// From tokens to c.normed, the hidden states that the head reads. `past`: the keys and values of
  /// earlier tokens, one per layer, or empty.
  static void forward(B& be, const Pass& pass, const Params& p, Cache& c, Scratch& s,
                      std::span<const KeyValues<T>> past = {}) {
    Tokens::forward(be, p.token_embedding, c.tokens, c.embedded);
    if constexpr (learned_positions) Positions::forward(be, pass, p.position_embedding, c.embedded);
    drop(be, embedding_dropout(pass), c.embedded, c.embedded);
    for (int i = 0; i < C.layers; ++i) {
      visit_block(pass, i, [&]<class Blk>(Blk, const Pass& at_layer, int at) {
        constexpr bool of_mixture = Blk::mixture;
        Blk::forward(be, at_layer, p.blocks.template of<of_mixture>(at), input(c, s, i),
                     output(c, s, i), c.blocks.template of<of_mixture>(at),
                     s.stage.block.template of<of_mixture>(at).block,
                     past.empty() ? nullptr : &past[std::size_t(i)]);
        if constexpr (of_mixture) copy_router_report<Blk>(be, c, at);
      });
    }
    Norm::forward(be, pass, p.final_norm, s.stream, c.normed, c.final_norm, s.stage.head.norm);
  }

  /// Backward of forward. Expects the gradient of c.normed in the head's scratch (dy).
  static void backward(B& be, const Pass& pass, const Params& p, const Cache& c, Params& grad,
                       Scratch& s) {
    HeadScratch& head = s.stage.head;
    Norm::backward(be, pass, p.final_norm, s.stream, c.final_norm, head.dy, s.stream,
                   grad.final_norm, head.norm, false);
    for (int i = C.layers - 1; i >= 0; --i) {
      visit_block(pass, i, [&]<class Blk>(Blk, const Pass& at_layer, int at) {
        constexpr bool of_mixture = Blk::mixture;
        StreamBlock<Blk, T>::backward(be, at_layer, p.blocks.template of<of_mixture>(at),
                                      input(c, s, i), c.blocks.template of<of_mixture>(at),
                                      s.stream, grad.blocks.template of<of_mixture>(at),
                                      s.stage.block.template of<of_mixture>(at));
      });
    }
    drop(be, embedding_dropout(pass), s.stream, s.stream);
    if constexpr (learned_positions)
      Positions::backward(be, pass, s.stream, grad.position_embedding);
    Tokens::backward(be, c.tokens, s.stream, grad.token_embedding, s.stage.tokens);
  }

  /// From c.normed and the targets to the loss of each row.
  static void head_forward(B& be, const Pass& pass, const Params& p, Cache& c, Scratch& s) {
    Head::forward(be, head(p), dropped(be, pass, c, s), c.targets, c.results.head,
                  s.stage.head.head);
  }
  /// Backward of head_forward for pass.loss_scale * mean loss. Adds to the gradient of the head's
  /// weight, and leaves the gradient of c.normed in the head's scratch (dy).
  static void head_backward(B& be, const Pass& pass, const Params& p, const Cache& c, Params& grad,
                            Scratch& s) {
    static_assert(trains<B>, "moe: a model on an Inference backend is only run, never trained");
    HeadScratch& h = s.stage.head;
    Head::backward(be, head(p), dropped(be, pass, c, s), c.targets, c.results.head, pass.loss_scale,
                   h.dy, head(grad), h.head, false);
    drop(be, final_dropout(pass), h.dy, h.dy);
  }
  /// head_forward and head_backward in one pass, with the same bits. The logits are computed only
  /// once.
  static void head_forward_backward(B& be, const Pass& pass, const Params& p, Cache& c,
                                    Params& grad, Scratch& s) {
    static_assert(trains<B>, "moe: a model on an Inference backend is only run, never trained");
    HeadScratch& h = s.stage.head;
    Head::forward_backward(be, head(p), dropped(be, pass, c, s), c.targets, c.results.head,
                           pass.loss_scale, h.dy, head(grad), h.head, false);
    drop(be, final_dropout(pass), h.dy, h.dy);
  }

  using Report = PassReport<C.moe_layers(), C.moe.experts>;
  /// Writes the numbers of the report of a pass, with the losses of `tokens` targets (0: it had
  /// none). A loss that is not finite sets `loss_not_finite`, unless that is null.
  static void report(B& be, const Pass& pass, int tokens, Cache& c, double* to,
                     int* loss_not_finite) {
    Results& r = c.results;
    const Options& o = *pass.options;
    kernel::RouterResults<W> routers{C.moe_layers(), C.moe.experts, nullptr, nullptr, nullptr, 0};
    if constexpr (C.moe_layers() > 0) {
      const auto& first = r.routers[0];
      routers.offset = first.offset.data, routers.mean_probs = first.mean_probs.data;
      routers.means = first.means.data;
      routers.step = std::ptrdiff_t(bytes<RouterReport<C.moe.experts, W>>());
    }
    be.rows(1, kernel::FinishReport<W>{tokens, r.head.loss.data, r.head.correct.data, routers,
                                       o.balance_weight, o.z_weight, o.entropy_weight, to,
                                       loss_not_finite});
  }

  /// The head's weight; with tied weights, the token embedding.
  static Weight<B>* head(const Params& p) {
    return C.tied ? p.token_embedding.weight.data : p.head.weight.data;
  }

 private:
  /// Calls f(block, pass of the layer, index among the layers of its kind) for layer i.
  template <class F>
  static void visit_block(const Pass& pass, int i, const F& f) {
    Pass at_layer = pass;
    at_layer.layer = i;
    if constexpr (C.moe_layers() > 0)
      if (C.is_moe(i)) return f(BlockOf<true>{}, at_layer, C.index_in_kind(i));
    if constexpr (C.moe_layers() < C.layers) f(BlockOf<false>{}, at_layer, C.index_in_kind(i));
  }
  static Rows<T, C.dim> input(const Cache& c, const Scratch& s, int i) {
    return i == 0 ? c.embedded : output(c, s, i - 1);
  }
  static Rows<T, C.dim> output(const Cache& c, const Scratch& s, int i) {
    return i == C.layers - 1 ? s.stream : c.stream[std::size_t(i)];
  }

  static Dropout embedding_dropout(const Pass& pass) {
    return pass.dropout(pass.options->dropout.embedding, RandomStream::embedding_dropout);
  }
  static Dropout final_dropout(const Pass& pass) {
    return pass.dropout(pass.options->dropout.final, RandomStream::final_dropout);
  }
  static void drop(B& be, const Dropout& d, Rows<const T, C.dim> from, Rows<T, C.dim> to) {
    if (d.active()) be.rows(to.count, kernel::Drop<T>{from, to, d});
  }
  /// The input of the head: the final norm's output, with dropout in training.
  static Rows<const T, C.dim> dropped(B& be, const Pass& pass, const Cache& c, Scratch& s) {
    const Dropout d = final_dropout(pass);
    if (!d.active()) return c.normed;
    drop(be, d, c.normed, s.stage.head.dropped);
    return s.stage.head.dropped;
  }

  /// Copies the report of one router to the results.
  template <class Blk>
  static void copy_router_report(B& be, Cache& c, int at) {
    static_assert(HasRouter<Blk>,
                  "moe: a block with experts needs static const auto& router(const Cache&), which "
                  "gives the router's cache, and that a field report, a RouterReport");
    if constexpr (HasRouter<Blk>) {  // one error is enough
      const auto& from = Blk::router(c.blocks.mixture[std::size_t(at)]).report;
      be.copy(c.results.routers[std::size_t(at)].offset.data, from.offset.data,
              bytes<RouterReport<C.moe.experts, W>>());
    }
  }
};

}  // namespace moe
