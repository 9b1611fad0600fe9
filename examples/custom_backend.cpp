// A backend of one's own. Backend is a policy: whatever has the functions of
// moe/backend/backend.hpp runs every model. This one is the library's Cpu, except that it counts
// the operations of its products. It shows that a mixture computes the chosen experts only.
#include <cstdio>
#include <moe/moe.hpp>

class CountingCpu : public moe::Cpu<float> {
 public:
  using Base = moe::Cpu<float>;
  using In = moe::Matrix<const float>;
  using Options = moe::GemmOptions<float>;
  using Base::Base;

  double flops = 0;  // two for each multiply-add of a product

  void gemm(int m, int n, int k, In a, In b, float* c, std::ptrdiff_t ldc, Options o = {}) {
    count(m, n, k);
    Base::gemm(m, n, k, a, b, c, ldc, o);
  }
  void batched_gemm(int batch, int m, int n, int k, In a, std::ptrdiff_t a_step, In b,
                    std::ptrdiff_t b_step, float* c, std::ptrdiff_t ldc, std::ptrdiff_t c_step,
                    Options o = {}) {
    count(double(batch) * m, n, k);
    Base::batched_gemm(batch, m, n, k, a, a_step, b, b_step, c, ldc, c_step, o);
  }
  void grouped_gemm_m(int groups, const int* offset, int n, int k, In a, In b,
                      std::ptrdiff_t b_step, float* c, std::ptrdiff_t ldc, Options o = {},
                      std::ptrdiff_t bias_step = 0) {
    count(rows(groups, offset), n, k);
    Base::grouped_gemm_m(groups, offset, n, k, a, b, b_step, c, ldc, o, bias_step);
  }
  void grouped_gemm_k(int groups, const int* offset, int m, int n, In a, In b, float* c,
                      std::ptrdiff_t ldc, std::ptrdiff_t c_step, Options o = {}) {
    count(m, n, rows(groups, offset));
    Base::grouped_gemm_k(groups, offset, m, n, a, b, c, ldc, c_step, o);
  }

  using Base::rows;  // which the function below would hide

 private:
  void count(double m, double n, double k) { flops += 2 * m * n * k; }
  static double rows(int groups, const int* offset) { return offset[groups] - offset[0]; }
};
static_assert(moe::Backend<CountingCpu>);

constexpr moe::ModelConfig dense{
    .vocab = 27, .dim = 32, .layers = 2, .heads = 2, .hidden = 128, .context = 16};
constexpr moe::ModelConfig mixture = [] {  // twice the feed-forward's parameters, the same work
  moe::ModelConfig c = dense;
  c.moe = {.experts = 4, .top_k = 2, .hidden = 64};
  return c;
}();

template <moe::ModelConfig Config>
double flops_of_one_pass() {
  CountingCpu backend;
  moe::Transformer<Config, CountingCpu> model{backend, {.batch = 1}};
  std::int32_t text[17];
  for (int i = 0; i < 17; ++i) text[i] = i * 7 % 27;
  model.forward(moe::Batch::next_token(text));
  std::printf("%8zu parameters, %6.2f million floating-point operations in products\n",
              moe::parameter_count<decltype(model)>().total, backend.flops / 1e6);
  return backend.flops;
}

int compare() {
  std::printf("dense:   ");
  const double one = flops_of_one_pass<dense>();
  std::printf("mixture: ");
  const double two = flops_of_one_pass<mixture>();
  return two < 1.1 * one ? 0 : 1;  // the router's product is the rest
}

int main() {
  return moe::report_errors(compare);
}
