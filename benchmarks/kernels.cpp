// The row and column kernels of a step, as a share of the copy bandwidth of as many bytes as they
// touch, so that the share means the same in a cache and outside. Each operand counts once where it
// is read and once where it is written. evaluations: 1e9 exp, erf or random factors a second.
// Names: kernels/KERNEL/rows x columns.
#include <cstdint>
#include <moe/kernels/activation.hpp>
#include <moe/kernels/adamw.hpp>
#include <moe/kernels/bias_grad.hpp>
#include <moe/kernels/chunk.hpp>
#include <moe/kernels/cross_entropy.hpp>
#include <moe/kernels/dispatch.hpp>
#include <moe/kernels/dropout.hpp>
#include <moe/kernels/embedding.hpp>
#include <moe/kernels/gradient_norm.hpp>
#include <moe/kernels/layer_norm.hpp>
#include <moe/kernels/muon.hpp>
#include <moe/kernels/residual.hpp>
#include <moe/kernels/rms_norm.hpp>
#include <moe/kernels/rope.hpp>
#include <moe/layers/feed_forward.hpp>

#include "configs.hpp"
#include "measure.hpp"

namespace {

namespace kernel = moe::kernel;
using moe::Activation;
using T = float;

/// The operands of one kernel: tables of rows x cols that it may read and write.
class Operands {
 public:
  Operands(int n, int width, int tables)
      : rows(n), cols(width), gain(cols), bias(cols), stats(2 * rows, 0.1, 1), index(rows) {
    for (int i = 0; i < tables; ++i) tables_.emplace_back(std::ptrdiff_t(rows) * cols);
    for (int r = 0; r < rows; ++r)
      index[r] = int(moe::philox(3, 0, std::uint64_t(r))[0] % unsigned(cols));
  }
  moe::Table<T> operator[](int i) const { return {tables_[std::size_t(i)].data(), cols}; }
  moe::Table<T> column(const bench::Numbers<>& x) const { return {x.data(), 1}; }

  int rows, cols;
  bench::Numbers<> gain, bias, stats;
  bench::Numbers<> turn{512, 0, 0.70710678};  // cosine and sine of an eighth
  bench::Numbers<std::int32_t> index;         // one below cols for each row

 private:
  std::vector<bench::Numbers<>> tables_;
};

/// `tables`: distinct tables of rows x cols that are touched; `accesses`: reads and writes of one.
struct Traffic {
  int tables, accesses;
  double evaluations = 0;  // of each element
};

template <class Launch>
void add(const std::string& name, int rows, int cols, const Traffic& traffic,
         const Launch& launch) {
  bench::add("kernels/" + name + "/" + std::to_string(rows) + "x" + std::to_string(cols),
             [=](benchmark::State& state, int threads) {
               const Operands x(rows, cols, traffic.tables);
               const double elements = double(rows) * cols;
               const double bytes = elements * traffic.accesses * sizeof(T);
               auto& be = bench::backend(threads);
               const double rate = bench::measure(
                   state, bytes, bench::copy_speed(threads, elements * traffic.tables * sizeof(T)),
                   [&] { launch(be, x); });
               if (traffic.evaluations > 0)
                 state.counters["evaluations"] = traffic.evaluations * rate * elements / bytes;
             });
}

void add_norms(int n, int d) {
  add("rms_norm_forward", n, d, {2, 2}, [](auto& be, const Operands& x) {
    be.rows(x.rows,
            kernel::RmsNormForward<T>{x[0], {x.gain, x.cols}, x[1], x.column(x.stats), T(1e-5)});
  });
  add("rms_norm_backward", n, d, {3, 4}, [](auto& be, const Operands& x) {
    be.rows(x.rows,
            kernel::RmsNormBackward<T>{x[0], {x.gain, x.cols}, x.column(x.stats), x[1], x[2]});
  });
  add("rms_norm_gain", n, d, {2, 2}, [](auto& be, const Operands& x) {
    be.columns(x.cols,
               kernel::RmsNormGainGrad<T>{x.rows, x[0], x.column(x.stats), x[1], {x.gain, x.cols}});
  });
  add("layer_norm_forward", n, d, {2, 2}, [](auto& be, const Operands& x) {
    be.rows(x.rows, kernel::LayerNormForward<T>{
                        x[0], {x.gain, x.cols}, {x.bias, x.cols}, x[1], {x.stats, 2}, T(1e-5)});
  });
  add("layer_norm_backward", n, d, {3, 4}, [](auto& be, const Operands& x) {
    be.rows(x.rows, kernel::LayerNormBackward<T>{x[0], {x.gain, x.cols}, {x.stats, 2}, x[1], x[2]});
  });
  add("layer_norm_gain", n, d, {2, 2}, [](auto& be, const Operands& x) {
    be.columns(x.cols, kernel::LayerNormGainGrad<T>{
                           x.rows, x[0], {x.stats, 2}, x[1], {x.gain, x.cols}, {x.bias, x.cols}});
  });
}

template <Activation A>
void add_activation(const std::string& name, int n, int hidden) {
  using Act = kernel::ActivationOf<T, A>;
  constexpr int up = moe::is_gated(A);
  add(name + "_forward", n, hidden, {2 + up, 2 + up, 1}, [](auto& be, const Operands& x) {
    const moe::Table<const T> gate = up ? x[1 + up] : moe::Table<T>{};
    be.rows(x.rows, kernel::ActivationForward<T, Act>{x[0], gate, x[1], nullptr, {}});
  });
  add(name + "_backward", n, hidden, {4 + 2 * up, 4 + 2 * up, 1}, [](auto& be, const Operands& x) {
    const moe::Table<const T> gate = up ? x[4] : moe::Table<T>{};
    const moe::Table<T> dup = up ? x[4 + up] : x[3];
    be.rows(x.rows, kernel::ActivationBackward<T, Act>{
                        x[0], gate, x[1], x.column(x.stats), x[2], x[3], dup, {}, nullptr, {}});
  });
}

void add_cross_entropy(int n, int vocab) {
  add("cross_entropy_forward", n, vocab, {1, 1, 1}, [](auto& be, const Operands& x) {
    T* const out = x.stats;  // one column of two is enough for each result
    be.rows(x.rows,
            kernel::CrossEntropyForward<T>{x[0], x.index, {out, 1}, {out + x.rows, 1}, {out, 1}});
  });
  add("cross_entropy_backward", n, vocab, {1, 2, 1}, [](auto& be, const Operands& x) {
    be.rows(x.rows,
            kernel::CrossEntropyBackward<T>{x[0], x.index, x.column(x.stats), T(1.0 / x.rows)});
  });
}

template <int HeadDim>
void add_rope(int n, int d) {
  const auto rotation = [](const Operands& x) {  // one angle for all positions will do
    return moe::Table<const T>{x.turn, HeadDim, 0};
  };
  const std::string dim = "/head_dim:" + std::to_string(HeadDim);
  add("rope_half" + dim, n, d, {1, 2}, [=](auto& be, const Operands& x) {
    be.rows(x.rows, kernel::RopeHalf<T>{x[0], rotation(x), 256, T(1)});
  });
  add("rope_interleaved" + dim, n, d, {1, 2}, [=](auto& be, const Operands& x) {
    be.rows(x.rows, kernel::RopeInterleaved<T>{x[0], rotation(x), 256, T(1)});
  });
}

void add_updates(int n, int d) {
  const auto size = [](const Operands& x) { return std::ptrdiff_t(x.rows) * x.cols; };
  const auto chunks = [=](const Operands& x) { return kernel::chunks(size(x)); };
  add("norm_square", n, d, {1, 1}, [=](auto& be, const Operands& x) {
    be.rows(chunks(x), kernel::NormSquare<T>{size(x), x[0].data, x.stats});
  });
  add("adamw", n, d, {4, 7}, [=](auto& be, const Operands& x) {
    be.rows(chunks(x), kernel::AdamW<T>{size(x), x[0].data, x[1].data, x[2].data, x[3].data, T(1),
                                        T(0.1), T(0.05), T(1 - 1e-4), T(1e-4), T(1), T(1e-8)});
  });
  add("momentum", n, d, {3, 4}, [=](auto& be, const Operands& x) {
    be.rows(chunks(x),
            kernel::Momentum<T>{size(x), x[0].data, x[1].data, x[2].data, T(1), T(0.05), T(0.95)});
  });
  add("descend", n, d, {2, 3}, [=](auto& be, const Operands& x) {
    be.rows(chunks(x), kernel::Descend<T>{size(x), x[0].data, x[1].data, T(1), T(1e-4)});
  });
}

void add_rows(int n, int d) {
  add("add", n, d, {2, 3}, [](auto& be, const Operands& x) {
    be.rows(x.rows, kernel::Add<T>{x[0], x[1]});
  });
  add("bias_grad", n, d, {1, 1}, [](auto& be, const Operands& x) {
    be.columns(x.cols,
               kernel::BiasGrad<T>{1, x.rows, nullptr, nullptr, {}, x[0], {x.bias, x.cols}});
  });
  add("dropout", n, d, {2, 2, 1}, [](auto& be, const Operands& x) {
    be.rows(x.rows, kernel::Drop<T>{x[0], x[1], {0.1, 1, 2}});
  });
  // Ids below the number of columns: a vocabulary of `d` rows.
  add("embedding_forward", n, d, {2, 2}, [](auto& be, const Operands& x) {
    be.rows(x.rows, kernel::EmbeddingForward<T>{x.index, 0, 1, x[0], x[1], T(1), false});
  });
  add("embedding_backward", n, d, {2, 3}, [](auto& be, const Operands& x) {
    be.columns(x.cols, kernel::EmbeddingGrad<T>{x.rows, x.index, 0, 1, x[0], x[1], T(1)});
  });
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int tokens = 4096;
  add_norms(tokens, bench::shakespeare.model.dim);
  add_norms(tokens, bench::tinystories.model.dim);
  add_activation<Activation::gelu>("gelu", 2 * tokens, 768);
  add_activation<Activation::gelu_tanh>("gelu_tanh", 2 * tokens, 768);
  add_activation<Activation::silu>("silu", 2 * tokens, 768);
  add_activation<Activation::swiglu>("swiglu", 2 * tokens, 768);
  add_activation<Activation::relu_squared>("relu_squared", 2 * tokens, 768);
  add_cross_entropy(tokens, bench::shakespeare.model.vocab);
  add_cross_entropy(64, bench::tinystories.model.vocab);
  add_rope<48>(tokens, 384);
  add_rope<104>(tokens, 832);
  add_updates(1024, 384);
  add_updates(65536, 1024);
  add_rows(tokens, 384);
  return bench::run(argc, argv);
}
