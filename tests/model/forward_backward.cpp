#include <moe/backend/cpu.hpp>
#include <moe/backend/reference.hpp>
#include <moe/model/transformer.hpp>
#include <moe/optim/adamw.hpp>

#include "../gradient.hpp"
#include "catch.hpp"

namespace {

using namespace moe;

constexpr int tokens = 70;
constexpr ModelConfig base{.vocab = 8192,  // chunks of 64 rows: the last has 6
                           .dim = 8,
                           .layers = 2,
                           .heads = 2,
                           .hidden = 12,
                           .context = 35,
                           .moe = {.experts = 4, .top_k = 2, .every = 2, .offset = 1}};
constexpr ModelConfig separate_head = [] {
  ModelConfig c = base;
  c.tied = false;
  c.bias = true;
  c.norm = Norm::layer;
  c.position = Position::learned;
  return c;
}();

struct Text {
  std::int32_t data[tokens + 1];
  Text() {
    for (int i = 0; i <= tokens; ++i) data[i] = (i * i * 37 + 7 * i) % base.vocab;
  }
  Batch batch() const { return {data, data + 1, 2, base.context}; }
};
Options options() {
  return {.max_tokens = tokens, .z_weight = 0.001, .init_std = 0.3, .seed = 6};
}
Options with_dropout() {
  Options o = options();
  o.dropout = {.embedding = 0.1, .attention_output = 0.1, .ffn_output = 0.1, .final = 0.1};
  return o;
}

template <class Model>
auto gradients(Model& model) {
  return test::get_leaves<typename Model::W>(model.grads());
}

/// Whether two steps with added gradients give the same bits by forward_backward as by forward and
/// backward.
template <ModelConfig C, class B>
bool one_pass_equals_two(const Options& o) {
  B be;
  Transformer<C, B> two{be, o}, one{be, o};
  const Text text;
  for (const double scale : {0.5, 0.25}) {
    const Loss expected = two.forward(text.batch());
    two.backward(scale);
    const Loss got = one.forward_backward(text.batch(), scale);
    if (got.total != expected.total || got.accuracy != expected.accuracy ||
        got.cross_entropy != expected.cross_entropy || one.loss().total != expected.total)
      return false;
  }
  return one.passes() == 2 && gradients(one) == gradients(two) && one.logits() == two.logits();
}

TEST_CASE("Transformer: forward_backward gives the bits of forward and backward", "[identity]") {
  CHECK(one_pass_equals_two<base, Cpu<float>>(options()));
  CHECK(one_pass_equals_two<base, Cpu<float>>(with_dropout()));
  CHECK(one_pass_equals_two<separate_head, Cpu<float>>(with_dropout()));
  CHECK(one_pass_equals_two<base, Reference<double>>(options()));
  CHECK(one_pass_equals_two<base, Reference<float, bfloat16>>(with_dropout()));
}

/// A user's block that has backward but no backward_in_place.
template <ModelConfig C, bool Mixture, class B>
struct Plain {
  using Inner = Block<C, Mixture, B>;
  using T = Value<B>;
  static constexpr int in = C.dim, out = C.dim;
  static constexpr bool mixture = Mixture;
  using Params = typename Inner::Params;
  using Cache = typename Inner::Cache;
  using Scratch = typename Inner::Scratch;
  static void forward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x, Rows<T, out> y,
                      Cache& c, Scratch& s, const KeyValues<T>* past = nullptr) {
    Inner::forward(be, pass, p, x, y, c, s, past);
  }
  static void backward(B& be, const Pass& pass, const Params& p, Rows<const T, in> x,
                       const Cache& c, Rows<const T, out> dy, Rows<T, in> dx, Params& grad,
                       Scratch& s) {
    Inner::backward(be, pass, p, x, c, dy, dx, grad, s);
  }
  static const auto& router(const Cache& c) requires Mixture { return Inner::router(c); }
};

TEST_CASE("Transformer: a block without backward_in_place gives the same gradients", "[identity]") {
  Reference<double> be;
  const Text text;
  Transformer<base, Reference<double>> in_place{be, with_dropout()};
  Transformer<base, Reference<double>, Plain> plain{be, with_dropout()};
  in_place.forward_backward(text.batch());
  plain.forward_backward(text.batch());
  CHECK(gradients(plain) == gradients(in_place));
}

TEST_CASE("Transformer: remembers a training loss that was not finite, until gradients are 0",
          "[options]") {
  Reference<double> be;
  const Text text;
  Transformer<base, Reference<double>> model{be, options()};
  AdamW optimizer{model};
  double& gain = model.params().final_norm.weight.data[0];
  const double kept = gain;
  gain = NAN;
  model.forward(text.batch(), false);
  CHECK(*model.loss_not_finite() == 0);  // an evaluation does not make the next update be skipped
  model.forward_backward(text.batch());
  CHECK(*model.loss_not_finite() == 1);
  gain = kept;
  model.forward(text.batch());
  CHECK(*model.loss_not_finite() == 1);
  CHECK(optimizer.step().skipped);
  CHECK(*model.loss_not_finite() == 0);
  gain = NAN;
  model.forward_backward(text.batch());
  gain = kept;
  model.zero_grads();
  CHECK(*model.loss_not_finite() == 0);
  model.forward_backward(text.batch());
  CHECK_FALSE(optimizer.step().skipped);
}

}  // namespace
