#include <moe/backend/reference.hpp>
#include <moe/model/transformer.hpp>

// A user's block around the library's, without the function `router`.
template <moe::ModelConfig C, bool Mixture, class B>
struct Silent {
  using Inner = moe::Block<C, Mixture, B>;
  using T = moe::Value<B>;
  static constexpr int in = C.dim, out = C.dim;
  static constexpr bool mixture = Mixture;
  using Params = typename Inner::Params;
  struct Cache {
    typename Inner::Cache inner;
  };
  using Scratch = typename Inner::Scratch;
  static void forward(B& be, const moe::Pass& pass, const Params& p, moe::Rows<const T, in> x,
                      moe::Rows<T, out> y, Cache& c, Scratch& s, const moe::KeyValues<T>* past) {
    Inner::forward(be, pass, p, x, y, c.inner, s, past);
  }
};

constexpr moe::ModelConfig config{.vocab = 5,
                                  .dim = 4,
                                  .layers = 1,
                                  .heads = 1,
                                  .context = 4,
                                  .moe = {.experts = 2, .hidden = 4}};

int main() {
  moe::Reference<double> backend;
  moe::Transformer<config, moe::Reference<double>, Silent> model{backend, {}};
  model.forward({});
}
