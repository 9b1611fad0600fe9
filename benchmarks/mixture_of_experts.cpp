// The mixture layer forward and backward (router, grouped products with gathered rows, activation
// and combine) as a share of the measured FMA peak, under routings from balanced to two experts
// that get all tokens. Only the operations of the experts' products are counted. of_peak: in the
// time of the whole layer. experts_of_peak: in that time without the router's.  Names:
// mixture_of_experts/MODEL/WHAT/ROUTING.
#include <moe/core/random.hpp>
#include <moe/layers/mixture_of_experts.hpp>
#include <moe/model/flops.hpp>
#include <moe/tree/bind.hpp>
#include <moe/tree/walk.hpp>

#include "configs.hpp"
#include "measure.hpp"
#include "parts.hpp"

namespace {

using Backend = bench::Timed<bench::Cpu>;

/// The probability of a token to be sent to expert e, relative to the other experts.
struct Routing {
  const char* name;
  double (*wish)(int e, int experts);
};
constexpr Routing routings[] = {
    {"balanced", [](int, int) { return 1.0; }},
    {"skewed_4_to_1", [](int e, int experts) { return 4.0 - 3.0 * e / (experts - 1); }},
    {"one_empty", [](int e, int) { return e == 0 ? 0.0 : 1.0; }},
    {"two_take_all", [](int e, int) { return e < 2 ? 1.0 : 0.0; }}};

double uniform(std::uint64_t index) {
  return double(moe::philox(7, 0, index)[0]) * 0x1p-32;
}

/// Fills rows whose first numbers become the logits of the experts. The experts that are drawn for
/// a token get high ones.
void set_inputs(float* x, int tokens, int dim, int experts, int top_k, const Routing& routing) {
  for (int t = 0; t < tokens; ++t) {
    float* const row = x + std::ptrdiff_t(t) * dim;
    for (int i = 0; i < dim; ++i)
      row[i] = float(uniform(std::uint64_t(t) * std::uint64_t(dim) + std::uint64_t(i)) - 0.5);
    double left = 0;
    for (int e = 0; e < experts; ++e) left += routing.wish(e, experts);
    for (int j = 0; j < top_k; ++j) {
      double draw = left * uniform((std::uint64_t(1) << 40) + std::uint64_t(t * top_k + j));
      int chosen = -1;
      for (int e = 0; e < experts; ++e) {
        if (row[e] > 1 || routing.wish(e, experts) <= 0) continue;
        chosen = e;
        draw -= routing.wish(e, experts);
        if (draw < 0) break;
      }
      row[chosen] = float(3 - j);
      left -= routing.wish(chosen, experts);
    }
  }
}

/// The mixture layer of a model with all its memory.
template <moe::ModelConfig C>
struct Layer {
  // A copy, because Clang 14 crashes on members of members of a template argument.
  static constexpr moe::ModelConfig config = C;
  using Mixture = moe::MoE<C.moe.experts, C.moe.top_k, C.dim, C.expert_hidden(), Backend,
                           moe::MoeTraits{.activation = C.activation, .bias = C.bias}>;
  template <class Tree>
  struct Memory {
    Memory(Backend& be, int tokens) : arena(be, moe::bytes<Tree>(tokens)) {
      moe::bind(tree, arena.data(), tokens);
    }
    moe::Arena<Backend> arena;
    Tree tree{};
  };

  Layer(Backend& be, int count, const Routing& routing)
      : backend(be),
        tokens(count),
        params(be, 0),
        grads(be, 0),
        cache(be, count),
        scratch(be, count),
        x(std::ptrdiff_t(count) * config.dim),
        y(std::ptrdiff_t(count) * config.dim),
        dx(std::ptrdiff_t(count) * config.dim) {
    std::uint64_t index = 0;
    moe::for_each_leaf(
        [&](auto& leaf) {
          using Leaf = std::remove_reference_t<decltype(leaf)>;
          for (std::size_t i = 0; i < Leaf::size; ++i)
            leaf.data[i] = float(0.1 * (uniform(index++) - 0.5));
        },
        params.tree.experts);
    for (int e = 0; e < config.moe.experts; ++e)
      params.tree.router.weight.data[std::ptrdiff_t(e) * config.dim + e] = 1;
    set_inputs(x, tokens, config.dim, config.moe.experts, config.moe.top_k, routing);
  }

  void forward() {
    Mixture::forward(backend, pass(), params.tree, {x, tokens}, {y, tokens}, cache.tree,
                     scratch.tree);
  }
  void backward() {
    Mixture::backward(backend, pass(), params.tree, {x, tokens}, cache.tree, {x, tokens},
                      {dx, tokens}, grads.tree, scratch.tree);
  }
  moe::Pass pass() const { return {.options = &options, .length = tokens, .training = true}; }

  Backend& backend;
  int tokens;
  moe::Options options{};
  Memory<typename Mixture::Params> params, grads;
  Memory<typename Mixture::Cache> cache;
  Memory<typename Mixture::Scratch> scratch;
  bench::Numbers<> x, y, dx;
};

enum class What { forward, backward, both };
constexpr const char* what_names[] = {"forward", "backward", "both"};

template <moe::ModelConfig C>
void mixture(benchmark::State& state, int tokens, What what, const Routing& routing, int threads) {
  Backend be{threads};
  Layer<C> layer{be, tokens, routing};
  const double forward = moe::token_flops(C).experts / C.moe_layers() * tokens;
  const double flops = what == What::both       ? 3 * forward
                       : what == What::backward ? 2 * forward
                                                : forward;
  const auto work = [&] {
    if (what != What::backward) layer.forward();
    if (what != What::forward) layer.backward();
  };
  layer.forward();
  be.watch(true, 0, Layer<C>::config.moe.experts);
  double experts = 0, all = 0;
  bench::measure(state, flops, bench::fma_peak(threads), [&] {
    const auto start = bench::Clock::now();
    const double before = be.seconds()[std::size_t(bench::Part::router)];
    work();
    const double passed = bench::seconds_since(start);
    all += passed;
    experts += passed - (be.seconds()[std::size_t(bench::Part::router)] - before);
  });
  state.counters["experts_of_peak"] = state.counters["of_peak"] * all / experts;
}

template <moe::ModelConfig C>
void add_model(const bench::Case& model) {
  for (const What what : {What::forward, What::backward, What::both})
    for (const Routing& routing : routings)
      bench::add(std::string("mixture_of_experts/") + model.name + "/" + what_names[int(what)] +
                     "/" + routing.name,
                 [=, tokens = model.batch * model.length](benchmark::State& state, int threads) {
                   mixture<C>(state, tokens, what, routing, threads);
                 });
}

}  // namespace

int main(int argc, char** argv) {
  add_model<bench::demo.model>(bench::demo);
  add_model<bench::shakespeare.model>(bench::shakespeare);
  add_model<bench::simple.model>(bench::simple);
  add_model<bench::tinystories.model>(bench::tinystories);
  return bench::run(argc, argv);
}
