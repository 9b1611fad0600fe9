// An activation of one's own in the library's feed-forwards and experts: no line of the library
// changes. Mish is x tanh(log(1 + e^x)) (Misra 2019, arXiv:1908.08681).
#include <moe/moe.hpp>

#include "memorize.hpp"

// The value and the derivative at x, which is one number or a register of numbers. With u = e^x and
// t = u (u + 2), tanh(log(1 + u)) is t / (t + 2). For large x, where that is 1, e^x would overflow,
// so x is limited to 20 in it.
template <class T>
struct Mish {
  static constexpr bool gated = false;
  template <class V>
  MOE_KERNEL static moe::kernel::Slope<V> at(const V& x) {
    using moe::select;
    const V limit(T(20)), z = select(x > limit, limit, x);
    const V u = moe::kernel::exp(z), t = u * (u + T(2)), d = t + T(2), share = t / d;
    return {x * share, share + z * T(4) * u * (u + T(1)) / (d * d)};
  }
};

// The library's block with that activation, in layers with experts and without. Checkpoints know it
// by its name, and refuse to be loaded into a model of other blocks.
template <moe::ModelConfig C, bool Mixture, class B>
struct MishBlock
    : moe::Block<
          C, Mixture, B, moe::AttentionOf<C, B>,
          std::conditional_t<Mixture, moe::MixtureOf<C, B, moe::RouterOf<C, B>, Mish<moe::Wide<B>>>,
                             moe::FeedForwardOf<C, B, Mish<moe::Wide<B>>>>> {
  static constexpr std::string_view name = "mish";
};

// The configuration still names an activation, by which the arithmetic of the model is counted: one
// that is gated if and only if yours is.
constexpr moe::ModelConfig config{.vocab = 27,
                                  .dim = 32,
                                  .layers = 2,
                                  .heads = 2,
                                  .hidden = 64,
                                  .context = 16,
                                  .activation = moe::Activation::silu,
                                  .moe = {.experts = 4, .every = 2}};  // layer 0; layer 1 is dense

int main() {
  return moe::report_errors([] {
    moe::Cpu backend;
    moe::Transformer<config, moe::Cpu<float>, MishBlock> model{backend, {.batch = 1}};
    return memorizes_a_line(model) ? 0 : 1;
  });
}
