#pragma once
#include <algorithm>
#include <cstdlib>
#include <map>
#include <moe/model/transformer.hpp>
#include <moe/tree/leaves.hpp>
#include <moe/upcycle/experts.hpp>
#include <moe/upcycle/report.hpp>
#include <set>

namespace moe {

namespace detail {

/// Leaves of a model, or of one kind of optimiser state, by name.
template <class W>
using NamedLeaves = std::map<std::string, LeafView<W>>;

template <class Model>
NamedLeaves<typename Model::W> parameters_by_name(Model& model) {
  NamedLeaves<typename Model::W> all;
  const auto& names = leaf_names<typename Model::Params>();
  for (std::size_t i = 0; const LeafInfo& info : leaves<typename Model::Params>()) {
    if (info.size > 0) all.emplace(names[i], view<typename Model::W>(model.params(), info));
    ++i;
  }
  return all;
}

/// Fills leaf after leaf of the mixture's tree from the dense one's.
template <ModelConfig Dense, ModelConfig Moe, Recipe R, class B>
class Upcycler {
 public:
  using W = Wide<B>;

  /// What the numbers are: parameters, or a momentum (of power 1) or mean square (2) of gradients,
  /// which shrink where parameters are scaled up, and start at 0 where there were none.
  enum class What { parameters, momentum, mean_square };

  Upcycler(B& from, B& to, const UpcycleOptions& options, What what = What::parameters)
      : from_(from), to_(to), options_(options), what_(what) {}

  /// Refuses what has no counterpart, before the first leaf changes.
  static void check(const NamedLeaves<W>& dense, const NamedLeaves<W>& moe) {
    std::set<std::string> used;
    for (const auto& [name, leaf] : moe) {
      const std::string source = source_of(name);
      if (!source.empty() && !dense.contains(source))
        throw Error("moe: cannot upcycle: the dense model has no leaf '" + source + "' for '" +
                    name + "' of the mixture; use the same block in both");
      if (!source.empty()) used.insert(source);
    }
    for (const auto& [name, leaf] : dense)
      if (!used.contains(name))
        throw Error("moe: cannot upcycle: leaf '" + name + "' of the dense model has no place in " +
                    "the mixture; use the same block in both");
  }

  void run(const NamedLeaves<W>& dense, const NamedLeaves<W>& moe) {
    for (const auto& [name, leaf] : moe) {
      const std::string source = source_of(name);
      const auto found = dense.find(source);
      if (source.empty()) {
        without_source(name, leaf);
      } else if (found == dense.end()) {  // a kind of state that the dense optimiser lacks
        upload(leaf, std::vector<W>(leaf.size, W(0)));
      } else if (name.find(".ffn.experts.") == std::string::npos) {
        upload(leaf, download(found->second));
      } else {
        experts(name, leaf, found->second, download(found->second));
      }
    }
  }

 private:
  static constexpr int hidden = Moe.expert_hidden(), dense_hidden = Dense.dense_hidden();
  static constexpr int groups = R == Recipe::virtual_groups ? virtual_groups(Dense, Moe) : 1;

  /// The dense leaf that a leaf of the mixture comes from; "" for one that has none.
  static std::string source_of(const std::string& name) {
    const auto without = [&](const std::string& part) {
      const std::size_t at = name.find(part);
      return at == std::string::npos ? ""
                                     : name.substr(0, at) + ".ffn." + name.substr(at + part.size());
    };
    if (name.find(".ffn.router.") != std::string::npos) return "";
    if (const std::string source = without(".ffn.shared."); !source.empty()) return source;
    const std::string source = without(".ffn.experts.");
    if (source.empty()) return name;
    return R == Recipe::shared ? "" : source;
  }

  /// Routers, and routed experts that start by adding nothing.
  void without_source(const std::string& name, const LeafView<W>& leaf) {
    if (what_ != What::parameters || leaf.role == Role::bias || leaf.role == Role::residual ||
        leaf.role == Role::expert_bias) {
      upload(leaf, std::vector<W>(leaf.size, W(0)));
    } else if (leaf.role == Role::router) {
      upload(leaf, router_rows<W>(options_, layer_of(name), leaf.rows, leaf.cols, groups));
    }  // the other matrices of such experts keep their initial values
  }

  void experts(const std::string& name, const LeafView<W>& leaf, const LeafView<W>& dense,
               const std::vector<W>& values) {
    const int layer = layer_of(name);
    const bool down = name.find(".down_proj.") != std::string::npos;
    const bool matrix = leaf.role != Role::bias;
    const auto use = down                                            ? UpcycleRandom::down
                     : name.find(".gate_proj.") != std::string::npos ? UpcycleRandom::gate
                                                                     : UpcycleRandom::up;
    std::vector<W> out(leaf.size);
    const std::size_t size = leaf.size / std::size_t(Moe.moe.experts);
    for (int e = 0; e < Moe.moe.experts; ++e) {
      W* const to = out.data() + std::size_t(e) * size;
      if (down && !matrix) {
        for (std::size_t i = 0; i < size; ++i) to[i] = W(scale().bias * double(values[i]));
        continue;
      }
      const ExpertUnits units = expert_units(R, options_, layer, e, hidden, dense_hidden);
      // Biases are rows of one number; they draw behind the numbers of their matrix.
      UpcycleRandom random(options_, layer, e + (matrix ? 0 : Moe.moe.experts), use);
      const bool parameters = what_ == What::parameters;
      take_units(units, layout(down, dense_hidden, dense.cols, matrix), values,
                 layout(down, hidden, leaf.cols, matrix), down ? scale().weight : 1,
                 parameters ? &random : nullptr, to);
      if (R == Recipe::noise && matrix && parameters)
        add_noise(to, size, options_.noise,
                  UpcycleRandom(options_, layer, e * 3 + int(use), UpcycleRandom::noise));
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
  static int layer_of(const std::string& name) {
    const std::size_t at = name.find("blocks.");
    return at == std::string::npos ? 0 : std::atoi(name.c_str() + at + 7);
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

/// `rows`: distinct rows of a router. T: the type of the parameters.
template <class T>
void check_upcycle_options(const UpcycleOptions& o, int rows, int dim) {
  const OptionCheck check{"upcycle", "UpcycleOptions"};
  check.not_negative<T>("router_std", o.router_std);
  check.not_negative<T>("noise", o.noise);
  check(o.drop >= 0 && o.drop <= 1, "drop", o.drop, "from 0 to 1");
  if (o.router == RouterStart::orthogonal && rows > dim)
    throw Error("moe: cannot start a router with " + std::to_string(rows) +
                " orthogonal rows: the model has only " + std::to_string(dim) +
                " dimensions; use RouterStart::normal");
}

/// The probe of the options, or one of random tokens, which then are in `random`.
inline moe::Batch checked_probe(const UpcycleOptions& options, int vocab, int most,
                                std::vector<std::int32_t>& random) {
  moe::Batch probe = options.probe;
  if (!probe.tokens) {
    probe.sequences = 4, probe.length = most;
    const std::uint64_t numbers = stream(0, 0, Site::upcycle);
    for (int i = 0; i < probe.sequences * probe.length; ++i)
      random.push_back(
          std::int32_t(philox(options.seed, numbers, std::uint64_t(i))[0] % std::uint32_t(vocab)));
    probe.tokens = random.data();
  }
  if (probe.sequences < 1 || probe.length < 1 || probe.length > most)
    throw Error("moe: cannot compare the models on a probe of " + std::to_string(probe.sequences) +
                " sequences of " + std::to_string(probe.length) + " tokens: they take 1 to " +
                std::to_string(most) + " tokens; give another probe");
  for (std::ptrdiff_t i = 0; i < std::ptrdiff_t(probe.sequences) * probe.length; ++i)
    if (probe.tokens[i] < 0 || probe.tokens[i] >= vocab)
      throw Error("moe: cannot compare the models on a probe with token " +
                  std::to_string(probe.tokens[i]) + ": it is outside the vocabulary of " +
                  std::to_string(vocab) + "; give tokens of the model's own vocabulary");
  return probe;
}

}  // namespace detail

/// Makes a mixture from a dense model: embeddings, attention, norms and head are copied, experts
/// made by the recipe, routers started. Which shapes fit is checked when this is compiled. The
/// report compares both models on options.probe, sequence by sequence.
/// Errors: moe::Error for options or a probe out of range and models whose blocks differ; neither
/// model has changed then.
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
  static_assert(check_upcycle<from, to, R>());
  static_assert(std::is_same_v<typename Dense::Backend, typename Moe::Backend>,
                "moe: upcycle needs both models on the same kind of backend");
  using Upcycler = detail::Upcycler<from, to, R, typename Dense::Backend>;
  constexpr int groups = R == Recipe::virtual_groups ? virtual_groups(from, to) : 1;
  const auto old_leaves = detail::parameters_by_name(dense);
  const auto new_leaves = detail::parameters_by_name(moe);
  std::vector<std::int32_t> random;
  detail::check_upcycle_options<typename Moe::W>(options, to.moe.experts / groups, to.dim);
  const int room = std::min(dense.options().max_tokens, moe.options().max_tokens);
  const Batch probe = detail::checked_probe(options, to.vocab, std::min(to.context, room), random);
  Upcycler::check(old_leaves, new_leaves);
  Upcycler(dense.backend(), moe.backend(), options).run(old_leaves, new_leaves);

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

/// Gives the mixture's optimiser what the dense model's has learned about its gradients: every
/// expert's state is the feed-forward's, units moved as by upcycle with the same recipe and
/// options; scaled leaves, routers and units drawn anew start with what fits them, 0 where nothing
/// does. The number of updates is copied too. Without this call the state is fresh, which is the
/// default advice: docs/transfer.md.
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
  const auto move = [&](std::string_view prefix, What what) {
    const auto of = [&](auto& optimizer) {
      detail::NamedLeaves<typename Dense::W> all;
      optimizer.for_each_state([&](const std::string& name, auto& leaf) {
        if (name.starts_with(prefix) && leaf.size > 0)
          all.emplace(name.substr(prefix.size()), leaf);
      });
      return all;
    };
    Upcycler(dense.backend(), moe.backend(), options, what)
        .run(of(dense_optimizer), of(moe_optimizer));
  };
  move("first.", What::momentum);
  move("second.", What::mean_square);
  moe_optimizer.set_updates(dense_optimizer.updates());
}

}  // namespace moe
