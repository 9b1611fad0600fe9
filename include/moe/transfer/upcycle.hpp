#pragma once
#include <cstdlib>
#include <map>
#include <moe/transfer/experts.hpp>
#include <moe/transfer/report.hpp>
#include <moe/transformer.hpp>

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

  void run(const NamedLeaves<W>& dense, const NamedLeaves<W>& moe) {
    std::size_t used = 0;
    std::map<std::string, int> served;
    for (const auto& [name, leaf] : moe) {
      const std::string source = source_of(name);
      if (source.empty()) {
        without_source(name, leaf);
        continue;
      }
      const auto found = dense.find(source);
      if (found == dense.end()) {
        if (what_ == What::parameters)
          throw Error("moe: cannot upcycle: the dense model has no leaf '" + source + "' for '" +
                      name + "' of the mixture; use the same block in both");
        upload(leaf, std::vector<W>(leaf.size, W(0)));
        continue;
      }
      const std::vector<W> values = download(found->second);
      name.find(".ffn.experts.") == std::string::npos ? upload(leaf, values)
                                                      : experts(name, leaf, found->second, values);
      used += served[source]++ == 0;
    }
    if (used != dense.size() && what_ == What::parameters)
      throw Error("moe: cannot upcycle: " + std::to_string(dense.size() - used) +
                  " leaves of the dense model have no place in the mixture; use the same block in "
                  "both");
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
        leaf.role == Role::selection_bias) {
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

inline void check_upcycle_options(const UpcycleOptions& o) {
  const auto check = [](bool good, const char* name, double value, const char* rule) {
    if (!good)
      throw Error("moe: cannot upcycle with UpcycleOptions." + std::string(name) + " = " +
                  std::to_string(value) + ": it must be " + rule + "; correct the option");
  };
  const auto good = [](double x) { return x >= 0 && std::isfinite(x); };
  check(good(o.router_std), "router_std", o.router_std, "finite, 0 or more");
  check(good(o.noise), "noise", o.noise, "finite, 0 or more");
  check(o.drop >= 0 && o.drop <= 1, "drop", o.drop, "from 0 to 1");
}

}  // namespace detail

/// Makes a mixture from a dense model: embeddings, attention, norms and head are copied, experts
/// made by the recipe, routers started. Which shapes fit is checked when this is compiled. The
/// report compares both models on options.probe, sequence by sequence.
/// Errors: moe::Error for options out of range and models whose blocks differ.
/// Source: Komatsuzaki et al. 2023, arXiv:2212.05055; He et al. 2024, arXiv:2410.07524; Nakamura et
/// al. 2025, arXiv:2502.19261.  Explained in docs/transfer.md.  Test: tests/transfer/upcycle.cpp.
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
  using B = typename Dense::Backend;
  detail::check_upcycle_options(options);
  detail::Upcycler<from, to, R, B>(dense.backend(), moe.backend(), options)
      .run(detail::parameters_by_name(dense), detail::parameters_by_name(moe));

  UpcycleReport report;
  if (options.compensate)
    report.compensation =
        compensation(to, R == Recipe::virtual_groups ? virtual_groups(from, to) : 1);
  if (R == Recipe::shared) report.compensation = {};
  detail::explain<to, R>(options, report);
  report.load.assign(std::size_t(to.moe_layers()),
                     std::vector<double>(std::size_t(to.moe.experts)));
  Batch probe = options.probe;
  const int room = std::min(dense.options().max_tokens, moe.options().max_tokens);
  std::vector<std::int32_t> random;
  if (!probe.tokens) {
    probe.sequences = 4, probe.length = std::min(to.context, room);
    for (int i = 0; i < probe.sequences * probe.length; ++i)
      random.push_back(
          std::int32_t(philox(options.seed, stream(0, 0, Site::upcycle), std::uint64_t(i))[0] %
                       std::uint32_t(to.vocab)));
    probe.tokens = random.data();
  }
  if (probe.sequences < 1 || probe.length < 1 || probe.length > std::min(to.context, room))
    throw Error("moe: cannot compare the models on a probe of " + std::to_string(probe.sequences) +
                " sequences of " + std::to_string(probe.length) + " tokens: they take 1 to " +
                std::to_string(std::min(to.context, room)) + " tokens; give another probe");
  for (int s = 0; s < probe.sequences; ++s)
    detail::compare(dense, moe, probe.tokens + std::ptrdiff_t(s) * probe.length, probe.length,
                    report);
  report.mean_difference /= probe.sequences;
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
  static_assert(check_upcycle<Dense::config, Moe::config, R>());
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
