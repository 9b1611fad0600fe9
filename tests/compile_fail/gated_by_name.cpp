#include <moe/backend/reference.hpp>
#include <moe/model/transformer.hpp>

// A block whose own activation is not gated, while the configuration names swiglu, which is.
template <class W>
struct Identity {
  static constexpr bool gated = false;
  template <class V>
  MOE_KERNEL static V at(const V& x) {
    return x;
  }
};
template <moe::ModelConfig C, bool Mixture, class B>
using IdentityBlock = moe::Block<C, Mixture, B, moe::AttentionOf<C, B>,
                                 moe::FeedForwardOf<C, B, Identity<moe::Wide<B>>>>;

constexpr moe::ModelConfig config{
    .vocab = 5, .dim = 4, .layers = 1, .heads = 1, .hidden = 4, .context = 4};

int main() {
  moe::Reference<double> backend;
  moe::Transformer<config, moe::Reference<double>, IdentityBlock> model{backend, {}};
}
