// A layer of one's own in a block of one's own: no line of the library changes. The layer
// multiplies each channel by a learned number before the feed-forward; reflection finds its
// parameter, the optimizer picks AdamW by its role, and memory, checkpoints and counts follow.
#include <moe/moe.hpp>

#include "memorize.hpp"

// y = scale * x, channel by channel; backward adds. T: type of activations in memory, W: of
// parameters.
template <class T, class W>
struct ScaleForward {
  moe::Table<const T> x;
  moe::Table<const W> scale;
  moe::Table<T> y;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each(x.cols, [&](auto i) { y[r][i] = scale[0][i] * x[r][i]; });
  }
};
template <class T, class W>
struct ScaleBackward {
  moe::Table<const T> dy;
  moe::Table<const W> scale;
  moe::Table<T> dx;
  MOE_KERNEL void operator()(const auto& group, int r) const {
    group.for_each(dy.cols, [&](auto i) { dx[r][i] += scale[0][i] * dy[r][i]; });
  }
};
template <class T, class W>
struct ScaleGrad {
  moe::Table<const T> x, dy;
  moe::Table<W> dscale;
  static constexpr int sums = 1;
  template <class V>
  MOE_KERNEL void add(V* sum, moe::Lane<V> i, int r) const {
    sum[0] = sum[0] + x[r][i] * dy[r][i];
  }
  template <class V>
  MOE_KERNEL void store(const V* sum, moe::Lane<V> i, int) const {
    dscale[0][i] += sum[0];
  }
};

template <int Dim, class B>
struct Scale {
  using T = moe::Value<B>;
  using W = moe::Wide<B>;
  static constexpr int in = Dim, out = Dim;
  struct Params {
    moe::Param<W, moe::Role::gain, 1, Dim> weight;
  };
  struct Cache {};
  struct Scratch {};
  static void forward(B& be, const moe::Pass&, const Params& p, moe::Rows<const T, in> x,
                      moe::Rows<T, out> y, Cache&, Scratch&) {
    be.rows(x.count, ScaleForward<T, W>{x, p.weight, y});
  }
  static void backward(B& be, const moe::Pass&, const Params& p, moe::Rows<const T, in> x,
                       const Cache&, moe::Rows<const T, out> dy, moe::Rows<T, in> dx, Params& grad,
                       Scratch&) {
    be.rows(x.count, ScaleBackward<T, W>{dy, p.weight, dx});
    be.columns(Dim, {1, x.count}, ScaleGrad<T, W>{x, dy, grad.weight});
  }
};

// The library's block behind a learned scale: y = block(scale * x).
template <moe::ModelConfig C, bool Mixture, class B>
struct ScaledBlock {
  using T = moe::Value<B>;
  using Before = Scale<C.dim, B>;
  using Inner = moe::Block<C, Mixture, B>;
  static constexpr std::string_view name = "scaled";  // by which checkpoints know it
  static constexpr int in = C.dim, out = C.dim;
  static constexpr bool mixture = Mixture;
  struct Params {
    typename Before::Params scale;
    typename Inner::Params inner;
  };
  struct Cache {
    moe::Rows<T, C.dim> scaled;
    typename Before::Cache scale;
    typename Inner::Cache inner;
  };
  struct Scratch {
    moe::Rows<T, C.dim> dscaled;
    typename Before::Scratch scale;
    typename Inner::Scratch inner;
  };
  // Needed in layers with experts: gives the model the cache of the router.
  static const auto& router(const Cache& c) requires Mixture { return Inner::router(c.inner); }
  static void forward(B& be, const moe::Pass& pass, const Params& p, moe::Rows<const T, in> x,
                      moe::Rows<T, out> y, Cache& c, Scratch& s,
                      const moe::KeyValues<T>* past = nullptr) {
    Before::forward(be, pass, p.scale, x, c.scaled, c.scale, s.scale);
    Inner::forward(be, pass, p.inner, c.scaled, y, c.inner, s.inner, past);
  }
  static void backward(B& be, const moe::Pass& pass, const Params& p, moe::Rows<const T, in> x,
                       const Cache& c, moe::Rows<const T, out> dy, moe::Rows<T, in> dx,
                       Params& grad, Scratch& s) {
    moe::zero(be, s.dscaled);
    Inner::backward(be, pass, p.inner, c.scaled, c.inner, dy, s.dscaled, grad.inner, s.inner);
    Before::backward(be, pass, p.scale, x, c.scale, s.dscaled, dx, grad.scale, s.scale);
  }
};

constexpr moe::ModelConfig config{.vocab = 27,
                                  .dim = 32,
                                  .layers = 2,
                                  .heads = 2,
                                  .hidden = 64,
                                  .context = 16,
                                  .moe = {.experts = 4, .every = 2}};  // layer 0; layer 1 is dense

int main() {
  return moe::report_errors([] {
    moe::Cpu backend;
    moe::Transformer<config, moe::Cpu<float>, ScaledBlock> model{backend, {.batch = 1}};
    return memorizes_a_line(model) ? 0 : 1;
  });
}
