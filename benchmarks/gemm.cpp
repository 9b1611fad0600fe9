// The products of the models' linear layers (forward, gradient of the input, gradient of the
// weight) as a share of the measured FMA peak, and the same products by Eigen.
// Names: gemm/MODEL/LAYER/WHAT/m x n x k of that product.
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

void gemm(benchmark::State& state, const Product& p, int threads) {
  const bench::Numbers<> a(std::ptrdiff_t(p.m) * p.k), b(std::ptrdiff_t(p.n) * p.k),
      c(std::ptrdiff_t(p.m) * p.n);
  using In = moe::Matrix<const float>;
  const In left = p.what == What::weight_gradient ? In{a, 1, p.m} : In{a, p.k};
  const In right = p.what == What::forward ? In{b, 1, p.k} : In{b, p.n};
  const moe::GemmOptions<float> options{1, p.what == What::weight_gradient ? 1.0f : 0.0f};
  auto& be = bench::backend(threads);
  bench::measure(state, p.flops(), bench::fma_peak(threads),
                 [&] { be.gemm(p.m, p.n, p.k, left, right, c.data(), p.n, options); });
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
  const int chunk = std::clamp((1 << 19) / c.vocab, 64, 4096);  // of the head
  const std::pair<const char*, Layer> layers[] = {
      {"projection", {tokens, c.dim, c.dim}},
      {"expert_up", {slots, c.dim, c.expert_hidden()}},
      {"expert_down", {slots, c.expert_hidden(), c.dim}},
      {"head", {std::min(tokens, chunk), c.dim, c.vocab}}};
  for (const auto& [name, layer] : layers)
    for (const What what : {What::forward, What::input_gradient, What::weight_gradient}) {
      const Product product(what, layer);
      const std::string place = std::string(model.name) + "/" + name + "/" + product.name();
      bench::add("gemm/" + place,
                 [=](benchmark::State& state, int threads) { gemm(state, product, threads); });
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
