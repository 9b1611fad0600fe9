#pragma once
#include <algorithm>
#include <cstring>
#include <moe/model/transformer.hpp>
#include <moe/tree/leaves.hpp>
#include <moe/upcycle/experts.hpp>
#include <moe/upcycle/pairs.hpp>
#include <moe/upcycle/report.hpp>

namespace moe::inline MOE_ISA {

namespace detail {

/// Fills the leaves of the mixture's tree from those of the dense model's.
template <ModelConfig Dense, ModelConfig Moe, Recipe R, class B>
class Upcycler {
 public:
  using W = Wide<B>;
  using Pair = UpcyclePair<W>;

  /// The kind of numbers: parameters, or a mean of gradients (momentum) or of squared gradients
  /// (mean_square). The latter shrink where parameters are scaled up, and start at 0 where the
  /// dense model has none.
  enum class What { parameters, momentum, mean_square };

  Upcycler(B& from, B& to, const UpcycleOptions& options, What what = What::parameters)
      : from_(from), to_(to), options_(options), what_(what) {}

  void run(const UpcyclePairs<W>& pairs) {
    for (const Pair& pair : pairs) {
      const bool is_new = pair.part == Pair::router || (R == Recipe::shared && pair.is_expert());
      if (!pair.to.data) continue;  // the mixture's optimizer has no such state
      if (is_new) {
        without_source(pair);
      } else if (!pair.from.data) {  // the dense model's optimizer has no such state
        upload(pair.to, std::vector<W>(pair.to.size, W(0)));
      } else if (pair.is_expert()) {
        experts(pair, download(pair.from));
      } else {
        upload(pair.to, download(pair.from));
      }
    }
  }

 private:
  // Clang 14 crashes on members of members of a template argument in code, so this is a copy.
  static constexpr int expert_count = Moe.moe.experts;
  static constexpr int hidden = Moe.expert_hidden(), dense_hidden = Dense.dense_hidden();
  static constexpr int groups = R == Recipe::virtual_groups ? virtual_groups(Dense, Moe) : 1;

  /// Fills routers, and routed experts that start by adding nothing.
  void without_source(const Pair& pair) {
    const LeafView<W>& leaf = pair.to;
    if (what_ != What::parameters || leaf.role == Role::bias || leaf.role == Role::residual ||
        leaf.role == Role::expert_bias) {
      upload(leaf, std::vector<W>(leaf.size, W(0)));
    } else if (leaf.role == Role::router) {
      upload(leaf, router_rows<W>(options_, pair.layer, leaf.rows, leaf.cols, groups));
    }  // their other matrices keep their initial values
  }

  void experts(const Pair& pair, const std::vector<W>& values) {
    const LeafView<W>& leaf = pair.to;
    const bool down = pair.part == Pair::expert_down, matrix = leaf.role != Role::bias;
    const auto use = down                             ? UpcycleRandom::down
                     : pair.part == Pair::expert_gate ? UpcycleRandom::gate
                                                      : UpcycleRandom::up;
    std::vector<W> out(leaf.size);
    const std::size_t size = leaf.size / std::size_t(expert_count);
    for (int e = 0; e < expert_count; ++e) {
      W* const to = out.data() + std::size_t(e) * size;
      if (down && !matrix) {
        for (std::size_t i = 0; i < size; ++i) to[i] = W(scale().bias * double(values[i]));
        continue;
      }
      const ExpertUnits units = expert_units(R, options_, pair.layer, e, hidden, dense_hidden);
      // A bias is treated as a row of one number per unit. Its random numbers follow those of the
      // matrices.
      UpcycleRandom random(options_, pair.layer, e + (matrix ? 0 : expert_count), use);
      const bool parameters = what_ == What::parameters;
      take_units(units, layout(down, dense_hidden, pair.from.cols, matrix), values,
                 layout(down, hidden, leaf.cols, matrix), down ? scale().weight : 1,
                 parameters ? &random : nullptr, to);
      if (R == Recipe::noise && matrix && parameters)
        add_noise(to, size, options_.noise,
                  UpcycleRandom(options_, pair.layer, e * 3 + int(use), UpcycleRandom::noise));
    }
    upload(leaf, out);
  }
  static UnitLayout layout(bool down, int units, int cols, bool matrix) {
    if (!matrix) return {1, 1, 1};
    if (down) return {Moe.dim, 1, units};
    return {cols, cols, 1};
  }

  Compensation scale() const {
    if (!options_.compensate) return {};
    const Compensation c = moe::compensation(Moe, groups);
    if (what_ == What::momentum) return {1 / c.weight, 1 / c.bias};
    if (what_ == What::mean_square) return {1 / (c.weight * c.weight), 1 / (c.bias * c.bias)};
    return c;
  }
  std::vector<W> download(const LeafView<W>& leaf) const {
    std::vector<W> host(leaf.size);
    from_.download(host.data(), leaf.data, leaf.size * sizeof(W));
    return host;
  }
  void upload(const LeafView<W>& leaf, const std::vector<W>& host) {
    MOE_EXPECTS(host.size() == leaf.size, "a leaf is upcycled into one of another size");
    to_.upload(leaf.data, host.data(), leaf.size * sizeof(W));
  }

  B &from_, &to_;
  const UpcycleOptions& options_;
  What what_;
};

/// One kind of optimizer state as a tree like the parameters. A leaf without such state is null.
template <class Model, class Optimizer>
typename Model::Params state_tree(Optimizer& optimizer, std::string_view kind) {
  typename Model::Params tree{};
  const auto& names = leaf_names<typename Model::Params>();
  optimizer.for_each_state([&](const std::string& name, auto& leaf) {
    if (!name.starts_with(kind)) return;
    const auto at = std::find(names.begin(), names.end(), name.substr(kind.size()));
    MOE_EXPECTS(at != names.end(), "state '", name, "' is of no parameter");
    const LeafInfo& info = leaves<typename Model::Params>()[std::size_t(at - names.begin())];
    std::memcpy(reinterpret_cast<std::byte*>(&tree) + info.offset, &leaf.data, sizeof leaf.data);
  });
  return tree;
}

/// `rows`: number of distinct rows of a router. T: the type of the parameters.
template <class T>
void check_upcycle_options(const UpcycleOptions& o, int rows, int dim) {
  const OptionCheck check{"upcycle", "UpcycleOptions"};
  check.not_negative<T>("router_std", o.router_std);
  check.not_negative<T>("noise", o.noise);
  check(o.drop >= 0 && o.drop <= 1, "drop", o.drop, "from 0 to 1");
  if (o.router == RouterStart::orthogonal && rows > dim)
    throw Error("cannot start a router with ", rows, " orthogonal rows: the model has only ", dim,
                " dimensions; use RouterStart::normal");
}

/// The probe of the options, or one of random tokens, which are stored in `random`.
inline moe::Batch checked_probe(const UpcycleOptions& options, int vocab, int max_length,
                                std::vector<std::int32_t>& random) {
  moe::Batch probe = options.probe;
  if (!probe.tokens) {
    probe.sequences = 4, probe.length = max_length;
    const std::uint64_t numbers = stream(0, 0, RandomStream::upcycle);
    for (int i = 0; i < probe.sequences * probe.length; ++i)
      random.push_back(
          std::int32_t(philox(options.seed, numbers, std::uint64_t(i))[0] % std::uint32_t(vocab)));
    probe.tokens = random.data();
  }
  if (probe.sequences < 1 || probe.length < 1 || probe.length > max_length)
    throw Error("cannot compare the models on a probe of ", probe.sequences, " sequences of ",
                probe.length, " tokens: they take 1 to ", max_length,
                " tokens; give another probe");
  for (std::ptrdiff_t i = 0; i < std::ptrdiff_t(probe.sequences) * probe.length; ++i)
    if (probe.tokens[i] < 0 || probe.tokens[i] >= vocab)
      throw Error("cannot compare the models on a probe with token ", probe.tokens[i],
                  ": it is outside the vocabulary of ", vocab,
                  "; give tokens of the model's own vocabulary");
  return probe;
}

}  // namespace detail

/// Makes a mixture of experts from a dense model: copies embeddings, attention, norms and head,
/// makes the experts by the recipe, and initializes the routers. Shapes are checked at compile
/// time; models with different blocks do not compile. The report compares both models on
/// options.probe, sequence by sequence.
/// Errors: moe::Error for invalid options or an invalid probe; neither model has changed then.
/// Source: Komatsuzaki et al. 2023, arXiv:2212.05055; He et al. 2024, arXiv:2410.07524; Nakamura et
/// al. 2025, arXiv:2502.19261.  Explained in docs/transfer.md.  Test: tests/upcycle/upcycle.cpp.
///
///     constexpr moe::ModelConfig dense_config{.vocab = 512, .dim = 64, .layers = 2, .heads = 4,
///                                             .hidden = 256, .context = 64};
///     constexpr auto moe_config = moe::with_experts(dense_config, {.experts = 8, .top_k = 2});
///     ...
///     const moe::UpcycleReport report = moe::upcycle(dense, mixture);
///     assert(report.max_difference == 0);
template <Recipe R = Recipe::copy, class Dense, class Moe>
UpcycleReport upcycle(Dense& dense, Moe& moe, const UpcycleOptions& options = {}) {
  constexpr ModelConfig from = Dense::config, to = Moe::config;
  static_assert(trains<typename Dense::Backend>,
                "moe: models on an Inference backend are only run; grow those that were trained");
  static_assert(check_upcycle<from, to, R>());
  static_assert(std::is_same_v<typename Dense::Backend, typename Moe::Backend>,
                "moe: upcycle needs both models on the same kind of backend");
  using Upcycler = detail::Upcycler<from, to, R, typename Dense::Backend>;
  constexpr int groups = R == Recipe::virtual_groups ? virtual_groups(from, to) : 1;
  std::vector<std::int32_t> random;
  detail::check_upcycle_options<typename Moe::W>(options, to.moe.experts / groups, to.dim);
  const int room = std::min(dense.options().max_tokens, moe.options().max_tokens);
  const Batch probe = detail::checked_probe(options, to.vocab, std::min(to.context, room), random);
  Upcycler(dense.backend(), moe.backend(), options).run({dense.params(), moe.params()});

  UpcycleReport report;
  if (options.compensate && R != Recipe::shared) report.compensation = compensation(to, groups);
  detail::explain<to, R>(options, report);
  report.load.assign(std::size_t(to.moe_layers()),
                     std::vector<double>(std::size_t(to.moe.experts)));
  for (int s = 0; s < probe.sequences; ++s)
    detail::compare(dense, moe, probe.tokens + std::ptrdiff_t(s) * probe.length, probe.length,
                    report);
  report.mean_difference /= probe.sequences;
  detail::check_promise(report);
  for (auto& layer : report.load)
    for (double& share : layer) share /= probe.sequences;
  return report;
}

/// Transfers the dense model's optimizer state to the mixture's optimizer. Every expert gets the
/// state of the feed-forward, with its units moved as by upcycle; use the same recipe and options.
/// State is rescaled where parameters were scaled, and starts at 0 for routers and for units drawn
/// anew. The number of updates is copied too. Without this call the state starts fresh, which is
/// the default advice: docs/transfer.md.
///
///     moe::upcycle_state(dense, dense_optimizer, mixture, optimizer);
template <Recipe R = Recipe::copy, class Dense, class DenseOptimizer, class Moe, class MoeOptimizer>
void upcycle_state(Dense& dense, DenseOptimizer& dense_optimizer, Moe& moe,
                   MoeOptimizer& moe_optimizer, const UpcycleOptions& options = {}) {
  constexpr ModelConfig from = Dense::config, to = Moe::config;
  static_assert(check_upcycle<from, to, R>());
  constexpr int groups = R == Recipe::virtual_groups ? virtual_groups(from, to) : 1;
  detail::check_upcycle_options<typename Moe::W>(options, to.moe.experts / groups, to.dim);
  using Upcycler = detail::Upcycler<Dense::config, Moe::config, R, typename Dense::Backend>;
  using What = typename Upcycler::What;
  const auto move = [&](std::string_view kind, What what) {
    Upcycler(dense.backend(), moe.backend(), options, what)
        .run({detail::state_tree<Dense>(dense_optimizer, kind),
              detail::state_tree<Moe>(moe_optimizer, kind)});
  };
  move("first.", What::momentum);
  move("second.", What::mean_square);
  moe_optimizer.set_updates(dense_optimizer.updates());
}

}  // namespace moe
