// The products of the models' linear layers (forward, gradient of the input, gradient of the
// weight) in float and bfloat16 as a share of the measured peak, and the same products by Eigen.
// benchmarks/peers/pytorch_gemm.py times them in PyTorch.
// Names: gemm/MODEL/LAYER/WHAT/m x n x k of that product; gemm_split/... the same in float on the
// matrix unit, where there is one, with shares of the FMA peak that may be above 1;
// gemm_bf16/... with bfloat16 activations, and weights in float as a model has them, which are
// rounded while they are packed. (The logits of a model are float, which here, as in PyTorch, are
// bfloat16.)
#include "configs.hpp"
#include "measure.hpp"
#if __has_include(<Eigen/Core>)
#include <Eigen/Core>
#define HAS_EIGEN 1
#else
#define HAS_EIGEN 0
#endif

namespace {

enum class What { forward, input_gradient, weight_gradient };
constexpr const char* what_names[] = {"forward", "input_gradient", "weight_gradient"};

/// A linear layer that reads `rows` tokens.
struct Layer {
  int rows, in, out;
};

/// The three products of a linear layer: y = x W^T, dx = dy W, dW += dy^T x.
struct Product {
  What what;
  int m, n, k;

  Product(What w, const Layer& l)
      : what(w),
        m(w == What::weight_gradient ? l.out : l.rows),
        n(w == What::forward ? l.out : l.in),
        k(w == What::forward          ? l.in
          : w == What::input_gradient ? l.out
                                      : l.rows) {}
  double flops() const { return 2.0 * m * n * k; }
  std::string name() const {
    return std::string(what_names[int(what)]) + "/" + std::to_string(m) + "x" + std::to_string(n) +
           "x" + std::to_string(k);
  }
};

/// T: the type of activations. Weights and their gradients are float.
template <class T>
void gemm(benchmark::State& state, const Product& p, int threads,
          moe::FloatProducts products = moe::FloatProducts::fma) {
  static std::map<std::pair<int, moe::FloatProducts>, moe::Cpu<T>> backends;
  auto& be =
      backends.try_emplace({threads, products}, threads, moe::Bf16Products::measured, products)
          .first->second;
  const auto run = [&]<class B, class C>(B, C) {
    const bench::Numbers<T> a(std::ptrdiff_t(p.m) * p.k);
    const bench::Numbers<B> b(std::ptrdiff_t(p.n) * p.k);
    const bench::Numbers<C> c(std::ptrdiff_t(p.m) * p.n);
    using Left = moe::Matrix<const T>;
    using Right = moe::Matrix<const B>;
    const Left left = p.what == What::weight_gradient ? Left{a, 1, p.m} : Left{a, p.k};
    const Right right = p.what == What::forward ? Right{b, 1, p.k} : Right{b, p.n};
    const moe::GemmOptions<float> options{1, p.what == What::weight_gradient ? 1.0f : 0.0f};
    const bool narrow = sizeof(T) < sizeof(float);
    bench::measure(state, p.flops(), narrow ? bench::bf16_peak(threads) : bench::fma_peak(threads),
                   [&] { be.gemm(p.m, p.n, p.k, left, right, c.data(), p.n, options); });
  };
  if (p.what == What::weight_gradient) return run(T{}, float{});
  run(float{}, T{});
}

#if HAS_EIGEN
void eigen(benchmark::State& state, const Product& p, int threads) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const bool weight = p.what == What::weight_gradient, forward = p.what == What::forward;
  const Matrix a = weight ? Matrix::Constant(p.k, p.m, 0.5f) : Matrix::Constant(p.m, p.k, 0.5f);
  const Matrix b = forward ? Matrix::Constant(p.n, p.k, 0.1f) : Matrix::Constant(p.k, p.n, 0.1f);
  Matrix c = Matrix::Zero(p.m, p.n);
  Eigen::setNbThreads(threads);
  bench::measure(state, p.flops(), bench::fma_peak(threads), [&] {
    if (weight) {
      c.noalias() += a.transpose() * b;
    } else if (forward) {
      c.noalias() = a * b.transpose();
    } else {
      c.noalias() = a * b;
    }
  });
}
#endif

void add_model(const bench::Case& model) {
  const moe::ModelConfig& c = model.model;
  const int tokens = model.batch * model.length;
  const int slots = tokens * c.moe.top_k / c.moe.experts;  // of one expert, when they are balanced
  const int chunk = bench::Cpu::head_rows(c.vocab);
  const std::pair<const char*, Layer> layers[] = {
      {"projection", {tokens, c.dim, c.dim}},
      {"expert_up", {slots, c.dim, c.expert_hidden()}},
      {"expert_down", {slots, c.expert_hidden(), c.dim}},
      {"head", {std::min(tokens, chunk), c.dim, c.vocab}}};
  for (const auto& [name, layer] : layers)
    for (const What what : {What::forward, What::input_gradient, What::weight_gradient}) {
      const Product product(what, layer);
      const std::string place = std::string(model.name) + "/" + name + "/" + product.name();
      bench::add("gemm/" + place, [=](benchmark::State& state, int threads) {
        gemm<float>(state, product, threads);
      });
      if (moe::detail::has_tiles())
        bench::add("gemm_split/" + place, [=](benchmark::State& state, int threads) {
          gemm<float>(state, product, threads, moe::FloatProducts::split);
        });
      bench::add("gemm_bf16/" + place, [=](benchmark::State& state, int threads) {
        gemm<moe::bfloat16>(state, product, threads);
      });
#if HAS_EIGEN
      bench::add("eigen/" + place,
                 [=](benchmark::State& state, int threads) { eigen(state, product, threads); });
#endif
    }
}

}  // namespace

int main(int argc, char** argv) {
  for (const bench::Case& model : {bench::shakespeare, bench::simple, bench::tinystories})
    add_model(model);
  return bench::run(argc, argv);
}
